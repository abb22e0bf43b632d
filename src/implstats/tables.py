"""A table for its reader: rounded as text, Markdown, HTML or LaTeX; exact as JSON, and back."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "is_few",
    "latex",
    "plain",
    "read_tables",
    "rounded",
    "to_html",
    "to_latex",
    "to_markdown",
    "to_records",
    "to_text",
    "write_number",
]


def plain(value: Any) -> Any:
    """Return the value as JSON can hold it: lists, dicts, str, int, float, bool, None; infinities as words."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, pd.DataFrame):
        return [plain(r) for r in value.to_dict("records")]
    if isinstance(value, np.ndarray | pd.Series | pd.Index):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, set | frozenset):
        return [plain(v) for v in sorted(value, key=repr)]
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return str(value)


def is_few(count: Any, least: int) -> bool:
    """Return whether a count tells of somebody, but of fewer than `least`; one that is missing or 0 tells of nobody."""
    return isinstance(count, int | float | np.integer) and not isinstance(count, bool) and bool(0 < count < least)


def read_tables(record: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the tables of a result that went through JSON, as the result's own methods gave them."""

    def number(column: pd.Series) -> pd.Series:
        words = {"Infinity": math.inf, "-Infinity": -math.inf}
        values = [words.get(v, v) if isinstance(v, str) else (math.nan if v is None else v) for v in column]
        return pd.Series(values, index=column.index, dtype=float)

    tables = {}
    for name, table in record["tables"].items():
        frame = pd.DataFrame(table["rows"], columns=table["columns"], dtype=object)
        for column, kind in zip(table["columns"], table["kinds"], strict=True):
            frame[column] = number(frame[column]) if kind == "float" else frame[column].astype(kind)
        tables[name] = frame
    return tables


def to_records(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a table as JSON can hold it, with the kind of each column."""
    kinds = []
    for column in frame.columns:
        dtype = frame[column].dtype
        kind = {"f": "float", "i": "int64", "u": "int64", "b": "bool"}.get(dtype.kind, "object")
        kinds.append(str(dtype) if str(dtype) in ("category", "str", "string") else kind)
    return {"columns": list(map(str, frame.columns)), "kinds": kinds, "rows": plain(frame.reset_index(drop=True))}


def write_number(value: Any, column: str = "") -> str:
    """Write one cell for a reader: p-values to three places, other numbers to four significant digits."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if not isinstance(value, float | np.floating):
        return " ".join(str(value).splitlines())
    x = float(value)
    if not math.isfinite(x):
        return "inf" if x > 0 else "-inf"
    if column in ("p_value", "p_corrected"):
        return "<.001" if x < 0.001 else f"{x:.3f}".lstrip("0") if x < 1 else "1.000"
    if column == "time" and x.is_integer():
        return str(int(x))
    if column == "df":
        return f"{x:.1f}"
    if x == 0:
        return "0"
    if abs(x) >= 1e6 or abs(x) < 1e-3:
        return f"{x:.3e}"
    return f"{x:.{max(0, 3 - math.floor(math.log10(abs(x))))}f}"


def rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as text, rounded for reading."""
    cells = {str(c): [write_number(v, str(c)) for v in frame[c]] for c in frame.columns}
    return pd.DataFrame(cells, dtype=object)


def to_text(frame: pd.DataFrame) -> str:
    """Write a table for a terminal: words to the left, numbers to the right."""
    text = rounded(frame)
    left = [frame[c].dtype.kind not in "fiu" for c in frame.columns]
    widths = [max([len(str(c)), *(len(v) for v in text[c])]) for c in text.columns]
    lines = []
    for cells in [list(text.columns), *text.to_numpy().tolist()]:
        padded = [c.ljust(w) if lt else c.rjust(w) for c, w, lt in zip(cells, widths, left, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def to_markdown(frame: pd.DataFrame) -> str:
    """Write a table as Markdown; a pipe or line break within a cell cannot break the table."""
    text = rounded(frame)
    rule = [":---" if frame[c].dtype.kind not in "fiu" else "---:" for c in frame.columns]

    def safe(cell: object) -> str:
        return html.escape(str(cell), quote=False).replace("\\", "\\\\").replace("|", "\\|")

    lines = [list(map(safe, text.columns)), rule, *([safe(c) for c in row] for row in text.to_numpy().tolist())]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def to_html(frame: pd.DataFrame) -> str:
    """Write a table as HTML; what users named cannot become markup."""
    text = rounded(frame)

    def row(cells: Iterable[object], tag: str) -> str:
        aligns = ["left" if frame[c].dtype.kind not in "fiu" else "right" for c in frame.columns]
        made = (
            f'<{tag} style="text-align:{a}">{html.escape(str(c))}</{tag}>' for c, a in zip(cells, aligns, strict=True)
        )
        return "<tr>" + "".join(made) + "</tr>"

    body = "".join(row(r, "td") for r in text.to_numpy().tolist())
    return f"<table><thead>{row(text.columns, 'th')}</thead><tbody>{body}</tbody></table>"


_LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"} | {c: "\\" + c for c in "&%$#_"}


def latex(text: object) -> str:
    """Return text in which LaTeX sees no command; at its start, [ or * would be an option of the line above."""
    made = "".join(_LATEX.get(ch, ch) for ch in str(text))
    return "{}" + made if made.startswith(("[", "*")) else made


def to_latex(frame: pd.DataFrame) -> str:
    """Write a table as a LaTeX tabular; special characters are escaped."""
    text = rounded(frame)

    def row(cells: Iterable[object]) -> str:
        return " & ".join(map(latex, cells)) + r" \\"

    aligns = "".join("l" if frame[c].dtype.kind not in "fiu" else "r" for c in frame.columns)
    body = [row(r) for r in text.to_numpy().tolist()]
    head = [rf"\begin{{tabular}}{{{aligns}}}", r"\hline", row(text.columns), r"\hline"]
    return "\n".join([*head, *body, r"\hline", r"\end{tabular}"])
