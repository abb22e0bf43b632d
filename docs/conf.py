"""How the documentation is built: `make docs`. No network is asked; math is MathML, which needs no script."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import mathml  # noqa: E402
import pages  # noqa: E402

import implstats  # noqa: E402

project = "implstats"
author = copyright = "The implstats developers"
release = version = implstats.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated/parts"]
toc_object_entries = False

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Notebooks are shown with the outputs they are committed with, which a test holds to be theirs.
nb_execution_mode = "off"
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_typehints = "none"  # docstrings say what each parameter takes
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "pydata_sphinx_theme"
html_title = "implstats"
html_static_path = ["_static"]
html_css_files = ["implstats.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options: dict[str, Any] = {
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "get_started": []}


def setup(app: Any) -> None:
    """Write the pages that are made of other files, before any page is read."""
    mathml.setup(app)
    app.connect("source-read", pages.close_examples)
    app.connect("autodoc-process-signature", pages.hide_how_results_are_made)
    app.connect("autodoc-process-docstring", pages.link_names)
    pages.write(HERE)
