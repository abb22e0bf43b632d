"""Dated visits: when each was, counted from the patient's own origin, and which planned visit it is."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError
from implstats.reading.values import Codes, Ranges, is_range, missing_ids, read_rules, whole_numbers

__all__ = ["days_of", "visits_from_dates"]


def visits_from_dates(
    frame: pd.DataFrame,
    *,
    patient: str,
    date: str,
    origin: Any,
    unit: str = "months",
    windows: Mapping[float, tuple[float, float]] | None = None,
    time: str = "month",
    missing_codes: Codes | None = None,
    ranges: Ranges | None = None,
) -> pd.DataFrame:
    """Tell when each visit was, counted from the patient's own origin, and which planned visit it is.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per visit.
    patient : str
        The column that names the patient.
    date : str
        The column with the day of the visit: datetimes, dates, or text as YYYY-MM-DD. Other text is refused, since
        03/04/2020 has two readings.
    origin : str or date
        The column with the day from which the patient's time runs, such as the admission, the same on every row of a
        patient; or one date for all.
    unit : {"months", "weeks", "days", "years"}
        Unit of the new times: months of 30.4375 days, years of 365.25. Times of day are ignored.
    windows : mapping of time to (low, high), optional
        Planned visits, in `unit`: ``{18: (15, 24)}`` puts a visit from 15 to 24, both ends included, at 18; an end that
        two windows share belongs to the later one. None: every visit keeps its own time.
    time : str
        Name of the new column.
    missing_codes : sequence, or mapping of column to sequence, optional
        Values that stand for "missing" in columns of numbers, `patient` excepted.
    ranges : mapping of column to (low, high), optional
        The values that can be, both ends included.

    Returns
    -------
    pandas.DataFrame
        The frame with the new column, in its own order and index. With `windows`, a visit on the day of the origin is
        at 0 if no window says otherwise; a visit in no window is left out; of several visits of a patient in one window
        the nearest to the planned time stays, of two equally near the earlier. ``attrs["implstats"]["visits"]`` counts
        them all: given, kept, outside every window, not the nearest in their window.

    Raises
    ------
    DataError
        If a date cannot be read or is missing, a visit lies before the origin and in no window, a patient has two rows
        on one day or two origins, windows overlap, or a value lies outside its range; all faults together, with rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats import visits_from_dates
    >>> seen = pd.DataFrame(
    ...     {
    ...         "id": [1, 1, 1],
    ...         "admitted": "2020-01-06",
    ...         "seen": ["2020-01-06", "2021-06-14", "2021-08-30"],
    ...         "bsi": [2.1, 1.6, 1.4],
    ...     }
    ... )
    >>> visits = visits_from_dates(seen, patient="id", date="seen", origin="admitted", windows={18: (15, 24)})
    >>> visits[["id", "month", "bsi"]]
       id  month  bsi
    0   1      0  2.1
    1   1     18  1.6
    >>> visits.attrs["implstats"]["visits"]
    {'given': 3, 'kept': 2, 'outside every window': 0, 'not the nearest in their window': 1}
    """
    frame = _check.frame(frame)
    faults = Faults()
    _check.columns(frame, faults, patient=patient, date=date)
    if unit not in UNIT_DAYS:
        faults.say(f"unit={show(unit)}: unknown option{nearest(unit, UNIT_DAYS)}")
    if time in frame.columns:
        faults.add("time", time, "already a column", "choose another name")
    planned = _windows(windows, faults)
    others = [c for c in frame.columns if c not in (patient, date, origin)]
    rules = read_rules(missing_codes, ranges, others, faults)
    counts: dict[str, int] = {}
    visits = frame.copy()
    for column in rules.codes.keys() | rules.ranges.keys():
        visits[column], replaced = rules.apply(column, frame[column], faults)
        if replaced:
            counts[column] = replaced
    faults.settle()
    elapsed = _days_since_origin(frame, patient, date, origin) / UNIT_DAYS[unit]

    at = elapsed.copy() if windows is None else _planned_times(elapsed, planned)
    early = (elapsed < 0) & (np.isnan(at) | (windows is None))
    if early.any():
        remedy = "correct the date or the origin, or give a window that reaches below 0"
        faults.add("date", date, f"before the origin in {_check.rows(frame.index[early])}", remedy)
    faults.settle()
    stays = _nearest(frame[patient], elapsed, at)
    visits[time] = at
    visits = visits.loc[stays].copy()
    visits[time] = whole_numbers(visits[time])
    outside = int(np.isnan(at).sum())
    visits.attrs["implstats"] = {
        "missing_codes": counts,
        "ranges": {**frame.attrs.get("implstats", {}).get("ranges", {}), **rules.ranges},
        "visits": {
            "given": len(frame),
            "kept": len(visits),
            "outside every window": outside,
            "not the nearest in their window": len(frame) - outside - len(visits),
        },
    }
    return visits


def _windows(windows: object, faults: Faults) -> list[tuple[float, float, float]]:
    """Return (low, high, planned time) in order, or record what is wrong."""
    if not isinstance(windows, Mapping | None):
        faults.add("windows", windows, "not a window per planned time", "write windows={18: (15, 24)}")
        return []
    planned = []
    for t, bounds in (windows or {}).items():
        if is_range((t, t)) and is_range(bounds) and bounds[0] <= t <= bounds[1]:
            planned.append((float(bounds[0]), float(bounds[1]), float(t)))
        else:
            fault = f"not a low and a high time around {show(t)}"
            faults.add(f"windows[{show(t)}]", bounds, fault, "write windows={18: (15, 24)}")
    planned.sort()
    for (_, high, a), (low, _, b) in itertools.pairwise(planned):
        if low < high:
            remedy = "end one where the other begins"
            faults.say(f"windows: those of {show(a)} and {show(b)} overlap from {show(low)} to {show(high)}; {remedy}")
    return planned


def _planned_times(elapsed: NDArray[np.float64], planned: list[tuple[float, float, float]]) -> NDArray[np.float64]:
    """Return the planned time of each visit; NaN for a visit in no window."""
    at = np.where(elapsed == 0, 0.0, np.nan)
    for low, high, t in planned:
        at[(elapsed >= low) & (elapsed <= high)] = t
    return at


def _nearest(patients: pd.Series[Any], elapsed: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which visits stay: of a patient's visits in one window the nearest, of two equally near the earlier."""
    visits = pd.DataFrame({"patient": patients.to_numpy(), "at": at, "away": np.abs(elapsed - at), "elapsed": elapsed})
    best = (
        visits.dropna(subset=["at"]).sort_values(["away", "elapsed"], kind="stable").drop_duplicates(["patient", "at"])
    )
    return np.asarray(visits.index.isin(best.index))


def _days_since_origin(frame: pd.DataFrame, patient: str, date: str, origin: Any) -> NDArray[np.float64]:
    """Return the days from the patient's origin to each visit, with every fault of the dates reported together."""
    faults = Faults()
    missing_ids(frame, patient, faults)
    days = days_of(frame[date], f"date={show(date)}", faults)
    if isinstance(origin, Hashable) and origin in frame.columns:
        start = days_of(frame[origin], f"origin={show(origin)}", faults)
        several = start.groupby(frame[patient].to_numpy()).transform("nunique") > 1
        if several.any():
            who = frame[patient][several.to_numpy()].iloc[0]
            where = _check.rows(frame.index[(frame[patient] == who).to_numpy()])
            faults.add("origin", origin, f"changes within patient {show(who)}, {where}", "give one")
    else:
        start = _one_day(origin, frame, faults)
    twice = pd.DataFrame({"patient": frame[patient], "day": days}).dropna().duplicated(keep=False)
    if twice.any():
        where = _check.rows(twice.index[twice])
        faults.add("date", date, f"two rows of one patient on one day in {where}", "keep one")
    faults.settle()
    return np.asarray((days - start).dt.days, dtype=float)


def _one_day(origin: Any, frame: pd.DataFrame, faults: Faults) -> pd.Series[Any]:
    try:
        said = Faults()
        day = days_of(pd.Series([origin]), "origin", said)
        said.settle()
    except (DataError, TypeError, ValueError):
        known = nearest(origin, frame.columns)
        faults.say(f"origin={show(origin)}: neither a column nor a date as YYYY-MM-DD{known}")
        day = pd.Series([pd.NaT])
    return pd.Series(day.iloc[0], index=frame.index)


def days_of(values: pd.Series[Any], here: str, faults: Faults) -> Any:
    """Return days without time of day, NaT after recording what cannot be read."""
    remedy = "write dates as YYYY-MM-DD"
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        faults.say(f"{here}: has a time zone; drop it with .dt.tz_localize(None)")
        values = values.dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(values.dtype):
        days = values.dt.normalize()
    else:
        text = values.astype(str)
        iso = text.str.fullmatch(r"\d{4}-\d{2}-\d{2}([T ].*)?")
        days = pd.to_datetime(text.where(iso).str[:10], format="%Y-%m-%d", errors="coerce")
    empty = values.isna()
    wrong = values[days.isna() & ~empty]
    if empty.any():
        faults.say(f"{here}: missing in {_check.rows(values.index[empty])}; give the date, or drop the rows yourself")
    if len(wrong):
        faults.say(
            f"{here}: {show(wrong.iloc[0])} is not a date as YYYY-MM-DD, in {_check.rows(wrong.index)}; {remedy}"
        )
    return days
