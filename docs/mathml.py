"""Equations as MathML, which browsers draw themselves: nothing is loaded, and screen readers can read them."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def inline(self: Any, node: nodes.math) -> None:
    """Write an equation in the line."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    """Write an equation on a line of its own, which scrolls where the screen is too narrow."""
    self.body.append(f'<div class="math-block">{convert(node.astext().strip(), display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Make `mathml` a name that `html_math_renderer` can have."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
