"""What every result can do: a header in words, tidy tables at full precision, rounded only where people read them."""

from __future__ import annotations

import html
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check, tables
from implstats.columns import COLUMNS

__all__ = ["COLUMNS", "SCHEMA", "Estimates", "Result", "Sample", "by_column", "frozen", "intervals", "lock"]

SCHEMA = 1


def frozen(array: Any, dtype: Any = None) -> NDArray[Any]:
    """Return the array, read-only; one that others can write to, themselves or through its base, is copied first."""
    if isinstance(array, np.ndarray) and (dtype is None or array.dtype == dtype) and _settled(array):
        return array
    out = np.array(array, dtype=dtype)
    out.setflags(write=False)
    return out


def _settled(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None


def intervals(
    estimate: NDArray[np.float64], std_error: NDArray[np.float64], df: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both ends of estimate +/- t(df) x std_error; infinite df gives the normal quantile."""
    from scipy import special

    upper = 0.5 + _check.level(level) / 2
    normal = np.isinf(df)
    t = np.where(normal, special.ndtri(upper), special.stdtrit(np.where(normal, 1.0, df), upper))
    return estimate - t * std_error, estimate + t * std_error


def p_values(statistic: NDArray[np.float64], df: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two-sided p-values of t statistics; infinite df gives the normal ones."""
    from scipy import special

    normal = np.isinf(df)
    below = -np.abs(statistic)
    tail = np.where(normal, special.ndtr(below), special.stdtr(np.where(normal, 1.0, df), below))
    return np.asarray(2 * tail)


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """Base of every result: asks for `tidy()` and `header()`, gives the printed and the saved forms.

    Attributes
    ----------
    call : mapping
        The arguments that made the result, as JSON can hold them.

    Examples
    --------
    >>> from implstats import Result, load_example, survival_curves
    >>> curve = survival_curves(load_example("programmes"), duration="years", event="discontinued")
    >>> isinstance(curve, Result)
    True
    >>> curve.glance()
       rows  events  censored
    0   150      75        75
    >>> list(curve.to_dict())
    ['schema', 'implstats', 'kind', 'call', 'header', 'tables']
    """

    call: Mapping[str, Any]

    @abstractmethod
    def tidy(self, **options: Any) -> pd.DataFrame:
        """Return the main table, one row an estimate."""

    @abstractmethod
    def header(self) -> list[str]:
        """Return what was done, on what, and how it ended: one sentence a line."""

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole result."""
        return pd.DataFrame({"n": [len(self.tidy())]})

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "glance": self.glance()}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: schema version, software version, call, header and tables.

        Missing numbers are None, infinite ones the words "Infinity" and "-Infinity". `implstats.tables.read_tables`
        gives the tables back as they were.
        """
        from implstats import __version__

        return {
            "schema": SCHEMA,
            "implstats": __version__,
            "kind": type(self).__name__,
            "call": tables.plain(self.call),
            "header": list(self.header()),
            "tables": {name: tables.to_records(frame) for name, frame in self._tables().items()},
        }

    def to_markdown(self) -> str:
        """Return header and table as Markdown."""
        lines = (f"{html.escape(line, quote=False)}  " for line in self.header())
        return "\n".join([*lines, "", tables.to_markdown(self._shown())])

    def to_latex(self) -> str:
        """Return the table as a LaTeX tabular."""
        return tables.to_latex(self._shown())

    def _shown(self) -> pd.DataFrame:
        return self.tidy()

    def __repr__(self) -> str:
        lines = [textwrap.fill(line, 118, subsequent_indent="  ") for line in self.header()]
        return "\n".join([*lines, "", tables.to_text(self._shown())])

    def _repr_html_(self) -> str:
        lines = "<br>".join(html.escape(line) for line in self.header())
        return f"<div><p>{lines}</p>{tables.to_html(self._shown())}</div>"

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            lock(value)
        self.__dict__.update(state)


def by_column(labels: Any) -> dict[str, tuple[Any, ...]]:
    """Return labels, one mapping a row or a DataFrame, as column -> one value a row."""
    if isinstance(labels, list):
        return {name: tuple(row[name] for row in labels) for name in next(iter(labels), ())}
    return {name: tuple(values) for name, values in dict(labels).items()}


def lock(value: Any) -> None:
    """Make every array within a value read-only, through tuples, mappings and dataclasses; lists hold plain values."""
    if isinstance(value, str | int | float):
        return
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, tuple):
        for item in value:
            # The labels of rows and levels are many, and plain.
            if not isinstance(item, str | int | float):
                lock(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            lock(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            lock(getattr(value, item.name))


@dataclass(frozen=True)
class Sample:
    """What a fit rests on: rows, patients, visits per cohort and time, and every dropped row by its reason.

    Attributes
    ----------
    given, rows : int
        Rows in the frame, and rows used.
    dropped : mapping
        Reason -> number of rows.
    groups : mapping
        Grouping factor -> number of levels used.
    patients : mapping
        Cohort -> number of patients (empty where the model knows no cohort).
    seen : tuple
        (cohort, time, patients) for every visit; empty when times are irregular.
    added : int
        Rows made from a baseline column.

    Examples
    --------
    >>> from implstats import fit_growth, load_example
    >>> growth = fit_growth(load_example("reorganisation"), outcome="bsi", time="month", patient="patient",
    ...                     cohort="cohort", reference="before")
    >>> growth.sample.in_words()
    ['382 rows of 388 given; 144 patients', 'patients: before 76, during 68', 'dropped: 6 bsi missing']
    >>> growth.sample.visits().head(3)
       cohort  time   n
    0  before   0.0  76
    1  before  18.0  70
    2  before  36.0  62
    """

    given: int
    rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    patients: Mapping[Hashable, int] = field(default_factory=dict)
    seen: tuple[tuple[Hashable, float, int], ...] = ()
    added: int = 0

    def visits(self) -> pd.DataFrame:
        """Return the patients seen per cohort and time."""
        return pd.DataFrame(list(self.seen), columns=["cohort", "time", "n"])

    def in_words(self) -> list[str]:
        """Return the sample as sentences for a header."""
        units = ", ".join(f"{k} {name}s" if k != 1 else f"1 {name}" for name, k in self.groups.items())
        first = f"{self.rows} rows of {self.given} given" if not self.added else f"{self.rows} rows"
        if self.added:
            first += f" ({self.given} given, {self.added} added from the baseline column)"
        lines = [first + (f"; {units}" if units else "")]
        if self.patients:
            lines.append("patients: " + ", ".join(f"{c} {k}" for c, k in self.patients.items()))
        lost = ", ".join(f"{k} {why}" for why, k in self.dropped.items() if k)
        lines.append(f"dropped: {lost}" if lost else "dropped: none")
        return lines


@dataclass(frozen=True, eq=False, repr=False)
class Estimates(Result):
    """Estimates with standard errors and degrees of freedom; intervals are computed when they are asked for.

    Attributes
    ----------
    title : str
        The question that the table answers, with the unit.
    labels : mapping of column to tuple (given as a DataFrame, or as one mapping a row)
        What each row is about.
    estimate, std_error, df : numpy.ndarray
        One value a row.
    notes : sequence of str
        What a reader must know, printed under the title.
    tests : bool
        Whether estimate = 0 is a question: adds statistic and p_value.
    level : float
        The level of the printed intervals.

    Examples
    --------
    >>> from implstats import fit_growth, load_example
    >>> growth = fit_growth(load_example("reorganisation"), outcome="bsi", better="lower", time="month",
    ...                     patient="patient", cohort="cohort", reference="before")
    >>> means = growth.means(at=36)
    >>> means.tidy(level=0.90)[["cohort", "time", "estimate", "conf_low", "conf_high"]].round(2)
       cohort  time  estimate  conf_low  conf_high
    0  before  36.0      1.37      1.27       1.46
    1  during  36.0      1.90      1.79       2.00
    """

    title: str
    labels: Any
    estimate: NDArray[np.float64]
    std_error: NDArray[np.float64]
    df: NDArray[np.float64]
    notes: Sequence[str] = ()
    tests: bool = False
    level: float = 0.95

    def __post_init__(self) -> None:
        for name in ("estimate", "std_error", "df"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))
        object.__setattr__(self, "labels", by_column(self.labels))
        object.__setattr__(self, "call", dict(self.call))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an estimate, with intervals at `level` (default: the level asked for when it was made)."""
        low, high = intervals(self.estimate, self.std_error, self.df, self.level if level is None else level)
        columns = {**self.labels, "estimate": self.estimate, "std_error": self.std_error, "df": self.df}
        if self.tests:
            with np.errstate(divide="ignore", invalid="ignore"):
                statistic = self.estimate / self.std_error
            columns |= {"statistic": statistic, "p_value": p_values(statistic, self.df)}
        return pd.DataFrame({**columns, "conf_low": low, "conf_high": high})

    def header(self) -> list[str]:
        """Return the title and the notes."""
        return [f"{self.title} ({100 * self.level:.10g}% intervals)", *self.notes]
