"""Were the cohorts alike at the start: a Table 1 with standardised differences, before and after weighting."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats.cohorts.people import People, people
from implstats.design.frames import codes, numeric
from implstats.results import Result, frozen

__all__ = ["BalanceTable", "balance_table"]

Floats = NDArray[np.float64]

MOST_LEVELS = 20
# The mark most often used, of a standardised difference that is worth a look (Austin 2009).
MARK = 0.1


@dataclass(frozen=True)
class Line:
    """One line of the table: a number's mean, or the share of one level, in every cohort.

    Attributes
    ----------
    term, level : the column, and its level; None for a number.
    n, missing : patients with a value, and without, per cohort.
    worth : how many patients those with a value are worth (their number, without weights).
    mean, sd : per cohort; of a share, the share and sqrt(share (1 - share)).
    difference : standardised difference of each cohort from the reference, whose own is nan.
    """

    term: Hashable
    level: Any
    n: tuple[int, ...]
    missing: tuple[int, ...]
    worth: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    difference: tuple[float, ...]


@dataclass(frozen=True, eq=False, repr=False)
class BalanceTable(Result):
    """What cohorts looked like at the start, and how far apart they are in standard deviations.

    Attributes
    ----------
    cohorts : tuple
        The cohorts, the reference first.
    patients : tuple of int
        Patients of each.
    lines : tuple of Line
        Without weights.
    weighted : tuple of Line
        With them; empty without `weights=`.
    """

    cohorts: tuple[Any, ...]
    patients: tuple[int, ...]
    lines: tuple[Line, ...]
    weighted: tuple[Line, ...]

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a line and cohort: patients, mean and SD or share, standardised difference and interval."""
        z = float(special.ndtri(0.5 + _check.level(level) / 2))
        rows = [row for lines, mark in self._sets() for line in lines for row in self._rows(line, mark, z)]
        return pd.DataFrame(rows)

    def _sets(self) -> list[tuple[tuple[Line, ...], bool]]:
        return [(self.lines, False), (self.weighted, True)]

    def _rows(self, line: Line, weighted: bool, z: float) -> list[dict[str, Any]]:
        rows = []
        for k, cohort in enumerate(self.cohorts):
            d, share = line.difference[k], line.level is not None
            # Hedges & Olkin 1985, with the patients that weighted ones are worth.
            a, b = line.worth[k], line.worth[0]
            error = np.sqrt(1 / a + 1 / b + d**2 / (2 * (a + b))) if np.isfinite(d) else np.nan
            rows.append(
                {
                    "term": str(line.term),
                    "level": "" if line.level is None else str(line.level),
                    "cohort": cohort,
                    "reference": self.cohorts[0],
                    "weighted": weighted,
                    "n": line.n[k],
                    "missing": line.missing[k],
                    "mean": np.nan if share else line.mean[k],
                    "sd": np.nan if share else line.sd[k],
                    "count": line.mean[k] * line.n[k] if share and not weighted else np.nan,
                    "share": line.mean[k] if share else np.nan,
                    "std_difference": d,
                    "conf_low": d - z * error,
                    "conf_high": d + z * error,
                }
            )
        return rows

    def glance(self) -> pd.DataFrame:
        """Return one row: patients, lines, the largest difference, and how many exceed .1, before and after."""
        found: dict[str, Any] = {"patients": sum(self.patients), "n": len(self.lines)}
        for lines, end in ((self.lines, ""), (self.weighted, "_weighted")):
            sizes = np.abs(np.array([line.difference[1:] for line in lines] or [(np.nan,)]))
            known = np.isfinite(sizes)
            found[f"largest{end}"] = float(sizes[known].max()) if known.any() else np.nan
            found[f"marked{end}"] = int((sizes > MARK).any(axis=1).sum())
        return pd.DataFrame([found])

    def header(self) -> list[str]:
        """Return who is compared, and what the differences are."""
        who = ", ".join(f"{c} {n}" for c, n in zip(self.cohorts, self.patients, strict=True))
        found = self.glance().to_dict("records")[0]
        lines = [
            f"Cohorts at the start: {who} patients; differences are from {self.cohorts[0]}, in standard deviations "
            "(the root of the mean of both variances)",
            f"largest difference {found['largest']:.2f}; {found['marked']} of {found['n']} above {MARK:g}",
        ]
        if self.weighted:
            lines[-1] += (
                f"; weighted: largest {found['largest_weighted']:.2f}, {found['marked_weighted']} above {MARK:g} "
                "(over the same standard deviations)"
            )
        lost = {line.term: sum(line.missing) for line in self.lines if sum(line.missing)}
        if lost:
            lines.append("missing, and left out of that line: " + ", ".join(f"{n} {term}" for term, n in lost.items()))
        return [*lines, "what was not measured may differ as well"]

    def _shown(self) -> pd.DataFrame:
        """Return the table as papers print it: mean (SD) or count (%), one column a cohort with its patients."""
        after = dict(zip(self._keys(self.lines), self.weighted, strict=True)) if self.weighted else {}
        rows = []
        for key, line in zip(self._keys(self.lines), self.lines, strict=True):
            row = {"term": str(line.term) + ("" if line.level is None else f" = {line.level}")}
            for k, cohort in enumerate(self.cohorts):
                row[f"{cohort} (n {self.patients[k]})"] = _printed(line, k)
            row |= self._differences(line, "std_difference")
            if key in after:
                row |= self._differences(after[key], "weighted")
            rows.append(row)
        return pd.DataFrame(rows)

    def _differences(self, line: Line, name: str) -> dict[str, str]:
        rows, several = self._rows(line, False, float(special.ndtri(0.975)))[1:], len(self.cohorts) > 2
        return {
            f"{name} {row['cohort']}" if several else name: _two_places(
                row["std_difference"], row["conf_low"], row["conf_high"]
            )
            for row in rows
        }

    @staticmethod
    def _keys(lines: Sequence[Line]) -> list[tuple[Hashable, Any]]:
        return [(line.term, line.level) for line in lines]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "glance": self.glance()}


def _two_places(d: float, low: float, high: float) -> str:
    # The zero added takes the sign off a rounded zero.
    d, low, high = (round(value, 2) + 0.0 for value in (d, low, high))
    return f"{d:.2f} [{low:.2f}, {high:.2f}]"


def _printed(line: Line, k: int) -> str:
    if line.level is None:
        return f"{line.mean[k]:.4g} ({line.sd[k]:.3g})"
    return f"{line.mean[k] * line.n[k]:.0f} ({100 * line.mean[k]:.1f} %)"


def balance_table(
    frame: pd.DataFrame,
    *,
    cohort: str,
    reference: Any,
    covariates: Sequence[Hashable],
    patient: str | None = None,
    weights: Any = None,
) -> BalanceTable:
    """Were the cohorts alike at the start, and are they after weighting?

    Numbers have a mean and a standard deviation, everything else (and numbers that are only 0 and 1) a count and a
    share for each level (of two levels, for the second). Standardised differences are
    (mean - mean of the reference) / sqrt((s^2 + s_ref^2) / 2).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient; or several, with `patient=`, if the covariates are the same in all of them.
    cohort : str
        Column with the cohort.
    reference : value of the cohort column
        The cohort that the others are compared with.
    covariates : list of columns
        What was known at the start.
    patient : str, optional
        Column that tells patients apart.
    weights : str, or a Series on the frame's index, optional
        One positive weight per patient (`propensity_weights(...).weights`); patients without one are left out of the
        weighted lines.

    Returns
    -------
    BalanceTable
        Prints as a Table 1; `tidy()` has one row a line and cohort, `implstats.plot.balance` draws the differences.

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.

    Notes
    -----
    The differences describe this sample; they are no tests, and their intervals are those of a mean difference in SDs
    (with weights, of as many patients as the weighted ones are worth, (sum w)^2 / sum w^2). Weighted differences are
    divided by the standard deviations before weighting, so that both can be compared.

    References
    ----------
    Austin 2009, DOI 10.1002/sim.3697; Austin & Stuart 2015, DOI 10.1002/sim.6607; intervals: Hedges & Olkin 1985,
    Statistical Methods for Meta-Analysis, ISBN 978-0-12-336380-0.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> start = visits[visits["month"] == 0]
    >>> table = ist.balance_table(start, cohort="cohort", reference="before", covariates=["age", "sex", "bsi"])
    >>> table.tidy().query("cohort == 'during'")[["term", "level", "std_difference"]].round(2)
      term level  std_difference
    1  age                 -0.43
    3  sex  male           -0.08
    5  bsi                  0.41
    """
    call = {k: v for k, v in locals().items() if k != "frame"} | {
        "weights": weights if isinstance(weights, str) else None
    }
    faults = Faults()
    names = [covariates] if not isinstance(covariates, Iterable) or isinstance(covariates, str) else list(covariates)
    if not names or covariates is None:
        faults.say(f"covariates={_check.show(covariates)}: no column is named; name what was known at the start")
    _check.frame(frame)
    for name in names:
        _check.columns(frame, faults, covariates=name)
        if name in (cohort, patient):
            faults.add("covariates", name, "has a role of its own", "leave it out")
    faults.settle()
    weight = _weight(frame, weights, faults)
    found = people(frame, cohort=cohort, reference=reference, patient=patient, columns=names, faults=faults)
    if weight is not None:
        weight = _of_patients(weight, found, faults)
    columns = [part for name in names for part in _parts(found.frame, name, faults)]
    faults.settle()
    lines = tuple(_line(found, *part, np.ones(len(found.cohort)), None) for part in columns)
    weighted: tuple[Line, ...] = ()
    if weight is not None:
        weighted = tuple(_line(found, *part, weight, line) for part, line in zip(columns, lines, strict=True))
    return BalanceTable(call, found.cohorts, tuple(found.counts().values()), lines, weighted)


def _weight(frame: pd.DataFrame, given: Any, faults: Faults) -> Floats | None:
    """Return a weight for every row of the frame, nan where there is none."""
    if given is None:
        return None
    weights = given
    if isinstance(weights, pd.Series):
        if not weights.index.equals(frame.index):
            faults.say("weights: a Series with another index than the frame; give weights that were made from it")
            faults.settle()
        weights = "weight" if weights.name is None else weights.name
        frame = given.to_frame(weights)
    elif not isinstance(weights, Hashable):
        faults.say(f"weights: a {type(weights).__name__}; name a column, or give a Series on the frame's index")
        faults.settle()
    _check.columns(frame, faults, weights=weights)
    faults.settle()
    values = numeric(frame, "weights", weights, faults)
    if not faults and (values <= 0).any():
        rows = _check.rows(frame.index[values <= 0])
        faults.add("weights", weights, f"zero or negative in {rows}", "leave these patients out")
    return values


def _of_patients(weight: Floats, found: People, faults: Faults) -> Floats:
    of_patient = np.full(len(found.cohort), np.nan)
    of_patient[found.of_row] = weight
    other = (of_patient[found.of_row] != weight) & ~(np.isnan(of_patient[found.of_row]) & np.isnan(weight))
    if other.any():
        faults.say(f"weights: change within a patient ({_check.rows(found.labels[other])}); give each patient one")
    for k, name in enumerate(found.cohorts):
        if np.isnan(of_patient[found.cohort == k]).all():
            faults.say(f"weights: nobody of {_check.show(name)} has one; a comparison takes two cohorts")
    # What patients are worth does not hang on the unit of their weights.
    return of_patient / np.nanmax(of_patient) if not faults else of_patient


def _parts(frame: pd.DataFrame, name: Hashable, faults: Faults) -> list[tuple[Hashable, Any, Floats]]:
    """Return (column, level, values) of each line that a column makes."""
    column = frame[name]
    number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if number and not set(column.dropna().unique()) <= {0, 1}:
        return [(name, None, numeric(frame, "covariates", name, faults))]
    present = column.notna().to_numpy()
    if not present.any():
        faults.add("covariates", name, "every value is missing", "leave it out")
        return []
    coded = codes(column[present])
    if len(coded.levels) > MOST_LEVELS:
        faults.add("covariates", name, f"{len(coded.levels)} different values", "make it numeric, or merge categories")
        return []
    # Of two levels the second says all.
    shown = range(len(coded.levels)) if len(coded.levels) > 2 else [len(coded.levels) - 1]
    parts = []
    for k in shown:
        values = np.full(len(frame), np.nan)
        values[present] = coded.of_row == k
        parts.append((name, coded.levels[k], values))
    return parts


def _line(found: People, name: Hashable, level: Any, values: Floats, weight: Floats, before: Line | None) -> Line:
    """Return a line; `before` is the same without weights, whose standard deviations differences are divided by."""
    n, missing, worth, mean, sd = [], [], [], [], []
    known = ~np.isnan(values) & ~np.isnan(weight)
    for k in range(len(found.cohorts)):
        inside = found.cohort == k
        x, w = values[inside & known], weight[inside & known]
        n.append(len(x))
        missing.append(int((inside & ~known).sum()))
        worth.append(float(w.sum() ** 2 / (w @ w)) if len(x) else 0.0)
        mean.append(float(np.average(x, weights=w)) if len(x) else np.nan)
        spread = float(np.average((x - mean[-1]) ** 2, weights=w)) if len(x) else np.nan
        if level is None:
            spread *= worth[-1] / (worth[-1] - 1) if worth[-1] > 1 else np.nan
        sd.append(float(np.sqrt(spread)))
    scale = before.sd if before else sd
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.sqrt((np.square(scale) + scale[0] ** 2) / 2)
        difference = np.where(np.equal(mean, mean[0]), 0.0, (np.array(mean) - mean[0]) / pooled)
    difference[0] = np.nan
    return Line(
        name, level, tuple(n), tuple(missing), tuple(worth), tuple(mean), tuple(sd), tuple(frozen(difference).tolist())
    )
