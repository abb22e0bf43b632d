"""Gray's test: is the cumulative incidence of a cause the same in all groups?"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.competing import Gray, gray
from implstats.design.frames import several
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.errors import DataError
from implstats.results import Result, Sample, frozen, lock
from implstats.survival.competing import asks_for_censored, cause_of, counts_in_words
from implstats.survival.groups import follow_up_in_words, groups_of

__all__ = ["GrayTest", "gray_test"]


@dataclass(frozen=True, eq=False, repr=False)
class GrayTest(Result):
    """A comparison of groups' cumulative incidence of a cause, one test a cause.

    Attributes
    ----------
    labels : tuple
        The causes.
    tests : tuple of Gray
        Each one's statistic, and events per group as the test weighs them.
    groups : tuple
        The groups.
    rows : numpy.ndarray
        One count a group.
    events : numpy.ndarray
        (causes, groups) events.
    sample : Sample
    notes : tuple of str
    """

    labels: tuple[Any, ...]
    tests: tuple[Gray, ...]
    groups: tuple[Any, ...]
    rows: NDArray[np.intp]
    events: NDArray[np.intp]
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        lock(self.tests)
        for name in ("rows", "events"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def statistic(self) -> pd.Series:
        """Chi-square of every cause."""
        return self._of_causes("statistic")

    @property
    def df(self) -> pd.Series:
        """Its degrees of freedom."""
        return self._of_causes("df")

    @property
    def p_value(self) -> pd.Series:
        """The probability of a chi-square as large where all groups have the same incidence."""
        return self._of_causes("p_value")

    def _of_causes(self, column: str) -> pd.Series:
        return pd.Series(self.tidy()[column].to_numpy(), index=list(self.labels), name=column)

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a cause: its test."""
        statistic, df = np.array([t.statistic for t in self.tests]), np.array([t.df for t in self.tests])
        columns = {"cause": list(self.labels), "events": self.events.sum(axis=1), "statistic": statistic, "df": df}
        return pd.DataFrame(columns | {"p_value": special.chdtrc(df, statistic)})

    def table(self) -> pd.DataFrame:
        """Return one row a cause and group: rows, events, and events observed and expected as the test weighs them."""
        parts = []
        for cause, test, events in zip(self.labels, self.tests, self.events, strict=True):
            columns = {"cause": [cause] * len(self.groups), "group": list(self.groups), "rows": self.rows}
            columns |= {"events": events, "observed": test.observed, "expected": test.expected}
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def glance(self) -> pd.DataFrame:
        """Return one row: rows used, and events of the causes tested."""
        return pd.DataFrame({"rows": [self.sample.rows], "events": [int(self.events.sum())]})

    def header(self) -> list[str]:
        """Return what is tested, and what a reader must know."""
        strata = ", ".join(map(str, several(self.call.get("strata"))))
        head = f"Gray's test: is the cumulative incidence the same in all groups of {self.call['by']}"
        head += f", within {strata}?" if strata else "?"
        return [head, *self.notes, *self.sample.in_words()]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return super()._tables() | {"table": self.table()}


def gray_test(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    censored: Any,
    by: Hashable,
    cause: Any = None,
    strata: Hashable | Sequence[Hashable] | None = None,
    rho: float = 0.0,
    missing: str = "drop",
) -> GrayTest:
    """Do programmes of one kind stop more often by any time than those of another, when they can end otherwise too?

    Compares cumulative incidences, which other causes hold down as well: groups can differ in the incidence of a cause
    only because they differ in another. `logrank` of one cause compares its rate among those still at risk instead.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient.
    duration, event : str
        Columns: time until the end of the spell or of observation, and what ended it.
    censored : value of the event column
        What stands for no event; every other value is a cause.
    by : str
        Column with the groups.
    cause : value of the event column, optional
        The cause that is tested; by default each.
    strata : column or list of columns, optional
        Groups are compared within every stratum only, and the comparisons added up.
    rho : float
        An event weighs (1 - F)^rho, F the incidence just before it over all groups: above 0 early events count more,
        below 0 late ones.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    GrayTest

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one group, no event, never two groups at risk together.

    Notes
    -----
    With group k's number at risk Y_k, R_k = Y_k [1 - F_k] / S_k just before an event is its number at risk of the
    cause, those included whom another cause has taken; of d events it expects the share R_k / R. As cmprsk::cuminc,
    but that events at one time cannot take variance away, as they can there where a group is nearly at its end. A test
    for late entries or weights is not known here; `fit_fine_gray` adjusts.

    References
    ----------
    Gray 1988, DOI 10.1214/aos/1176350951.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.gray import gray_test
    >>> programmes = pd.DataFrame({"years": [1, 2, 3, 4, 5, 6, 2, 3, 5, 6],
    ...                            "status": ["stopped", "stopped", "merged", "stopped", "active", "active", "merged",
    ...                                       "active", "stopped", "active"],
    ...                            "era": ["before"] * 6 + ["during"] * 4})
    >>> test = gray_test(programmes, duration="years", event="status", censored="active", by="era", cause="stopped")
    >>> test.table().round(3)[["group", "observed", "expected"]]
        group  observed  expected
    0  before       3.0     2.285
    1  during       1.0     1.715
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.number, "rho", rho)
    asks_for_censored(event, censored, faults)
    if by is None:
        faults.say("by=None: no groups are named; name the column with the groups to compare")
    roles = SpellRoles(duration, event, by=by, strata=several(strata), censored=censored)
    found = spells(frame, roles, missing=missing, faults=faults)
    if len(found.groups) < 2:
        faults.add("by", by, f"one group only ({_check.show(found.groups[0])})", "a test compares two or more")
    asked_for = [cause_of(found, c, faults) for c in (found.causes if cause is None else (cause,))]
    faults.settle()
    G = len(found.groups)
    tests = []
    for k in asked_for:
        kind = np.where(found.event == 0, 0, np.where(found.event == k, 1, 2))
        tests.append(gray(found.exit, kind, found.group, G, found.stratum, float(rho)))
        if tests[-1].df == 0:
            raise DataError(
                f"cause={_check.show(found.causes[k - 1])}: never were two groups at risk at one of its events and "
                "anybody left; leave it out, or look at by= and strata="
            )
    own = [found.group == g for g in range(G)]
    return GrayTest(
        call,
        tuple(found.causes[k - 1] for k in asked_for),
        tuple(tests),
        found.groups,
        np.bincount(found.group, minlength=G),
        np.array([[int((found.event[rows] == k).sum()) for rows in own] for k in asked_for]),
        found.sample,
        tuple(_gray_notes(found, by, asked_for, tests, float(rho))),
    )


def _gray_notes(found: Spells, by: Hashable, asked_for: Sequence[int], tests: Sequence[Gray], rho: float) -> list[str]:
    groups = groups_of(found, by)
    lines = [counts_in_words(found, g, group) for g, group in enumerate(groups)]
    lines += follow_up_in_words(groups)
    if rho:
        when = "early" if rho > 0 else "late"
        lines.append(f"an event weighs (1 - F)^{rho:g}, F the incidence over all groups: {when} differences count more")
    short = [t.df for t in tests if t.df < len(groups) - 1]
    if short:
        lines.append("fewer df than groups less one: some were never at risk together with the others")
    if (silent := len(found.strata) - len(np.unique(found.stratum[np.isin(found.event, asked_for)]))) > 0:
        lines.append(f"{silent} of {len(found.strata)} strata compare nothing: no event there")
    if len(tests) > 1:
        lines.append(f"{len(tests)} tests, one a cause; their p-values are not corrected for that")
    return [*lines, *found.notes]
