"""A table with one row per patient and a column per visit, turned into one row per patient and visit."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.errors import DataError
from implstats.reading.values import Codes, Ranges, missing_ids, read_rules, whole_numbers

__all__ = ["visits_from_wide"]


def visits_from_wide(
    frame: pd.DataFrame,
    *,
    patient: str,
    outcomes: Mapping[str, Mapping[float, str]],
    time: str = "month",
    keep: Sequence[str] | None = None,
    missing_codes: Codes | None = None,
    ranges: Ranges | None = None,
) -> pd.DataFrame:
    """Turn a table with one row per patient into one row per patient and visit.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient.
    patient : str
        The column that names the patient; every one occurs once.
    outcomes : mapping of str to mapping of time to column
        For each outcome, which column holds it at which time, for example
        ``{"bsi": {0: "bsi_t0", 18: "bsi_t18", 36: "bsi_t36"}}``.
    time : str
        Name of the new column of times.
    keep : sequence of str, optional
        Columns to repeat on every row of the patient, such as the cohort; None: all that hold no outcome.
    missing_codes : sequence, or mapping of outcome to sequence, optional
        Values of the outcomes that stand for "missing", for example ``[999]``.
    ranges : mapping of outcome to (low, high), optional
        The values that can be, both ends included.

    Returns
    -------
    pandas.DataFrame
        Columns patient, the kept ones, time, one per outcome; patients in the order of the frame, times increasing. A
        visit at which nothing was recorded has a row with missing outcomes: the fit counts it.
        ``attrs["implstats"]["missing_codes"]`` counts the codes that were replaced, per outcome.

    Raises
    ------
    DataError
        If a column is missing or holds text, a patient is missing or occurs twice, names clash, or a value lies outside
        its range; all faults together.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats import visits_from_wide
    >>> wide = pd.DataFrame({"id": [1, 2], "arm": ["a", "b"], "pre": [2.1, 1.8], "post": [1.2, 999]})
    >>> visits_from_wide(wide, patient="id", outcomes={"bsi": {0: "pre", 18: "post"}}, missing_codes=[999])
       id arm  month  bsi
    0   1   a      0  2.1
    1   1   a     18  1.2
    2   2   b      0  1.8
    3   2   b     18  NaN
    """
    frame = _check.frame(frame)
    faults = Faults()
    sources = _sources(frame, outcomes, faults)
    used = [column for at in sources.values() for column in at.values()]
    kept = [c for c in (frame.columns if keep is None else keep) if c != patient and (keep or c not in used)]
    for column in kept:
        _check.columns(frame, faults, keep=column)
    _check_patients(frame, patient, faults)
    for argument, names in {"outcomes": list(sources), "time": [time]}.items():
        for name in names:
            if name in (patient, *kept) or (argument == "outcomes" and name == time):
                faults.add(argument, name, "also the name of another column of the result", "choose another name")
    rules = read_rules(missing_codes, ranges, list(sources), faults)
    times = sorted({t for at in sources.values() for t in at})
    values: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for name, at in sources.items():
        table = pd.DataFrame(np.nan, index=frame.index, columns=times)
        for t, column in at.items():

            def place(labels: Iterable[Hashable], column: str = column) -> str:
                return f"{_check.rows(labels)} of {show(column)}"

            text = frame[column].isin(rules.words(name))
            numbers = _numbers(frame[column].mask(text), name, place, faults)
            table[t], replaced = rules.apply(name, numbers, faults, place)
            counts[name] = counts.get(name, 0) + replaced + int(text.sum())
        values[name] = table.to_numpy().ravel()
    faults.settle()
    visits = frame[[patient, *kept]].iloc[np.repeat(np.arange(len(frame)), len(times))].reset_index(drop=True)
    visits = visits.assign(**{time: np.tile(whole_numbers(times), len(frame))}, **values)
    found = {name: count for name, count in counts.items() if count}
    visits.attrs["implstats"] = {"missing_codes": found, "ranges": dict(rules.ranges)}
    return visits


def _sources(frame: pd.DataFrame, outcomes: object, faults: Faults) -> dict[str, dict[float, str]]:
    """Return the column of every outcome and time, or record what is wrong with `outcomes`."""
    good = isinstance(outcomes, Mapping) and all(isinstance(at, Mapping) and at for at in outcomes.values())
    if not isinstance(outcomes, Mapping) or not outcomes or not good:
        remedy = "write {'bsi': {0: 'bsi_t0', 18: 'bsi_t18'}}"
        faults.add("outcomes", outcomes, "not a column per outcome and time", remedy)
        return {}
    out: dict[str, dict[float, str]] = {}
    seen: dict[str, str] = {}
    for name, at in outcomes.items():
        for t, column in at.items():
            here = f"outcomes[{show(name)}][{show(t)}]"
            if column not in frame.columns:
                faults.say(f"{here}={show(column)}: no such column{nearest(column, frame.columns)}")
                continue
            if column in seen:
                faults.say(f"{here}={show(column)}: already used by {seen[column]}; each column holds one visit")
            seen.setdefault(column, here)
            try:
                out.setdefault(name, {})[_check.number(f"time of {here}", t)] = column
            except DataError as error:
                faults.take(error)
    return out


def _check_patients(frame: pd.DataFrame, patient: str, faults: Faults) -> None:
    _check.columns(frame, faults, patient=patient)
    if patient not in frame.columns:
        return
    missing_ids(frame, patient, faults)
    ids = frame[patient]
    twice = ids[ids.duplicated(keep=False) & ids.notna()]
    if len(twice):
        where = _check.rows(twice.index[(twice == twice.iloc[0]).to_numpy()])
        faults.add("patient", patient, f"{show(twice.iloc[0])} occurs in {where}", "give one row per patient")


def _numbers(values: pd.Series[Any], name: str, place: Any, faults: Faults) -> pd.Series[Any]:
    """Return a column as numbers, and record cells that are none."""
    numbers = pd.to_numeric(values.astype(object), errors="coerce")
    odd = values[values.notna() & numbers.isna()]
    if len(odd):
        fault = f"{show(odd.iloc[0])} in {place(odd.index)} is not a number"
        faults.say(f"outcomes[{show(name)}]: {fault}; correct it, or name it in missing_codes")
    return numbers.astype(float)
