"""Twelve faults that exports have, planted in a study that has none: `broken_reorganisation.csv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import pandas as pd

from implstats import _check
from implstats.simulate.through_change import CHANGE

__all__ = ["FAULTS", "plant_faults"]

Plant: TypeAlias = Callable[[pd.DataFrame], pd.DataFrame]

WEEKS = {18: 78, 36: 156}
NEW_NUMBERS = {"P041": "P171", "P118": "P172"}
SPELLINGS = {"female": ("female", "Female", "F"), "male": ("male", "Male", "m")}


def _row(visits: pd.DataFrame, patient: str, month: int) -> pd.Series:
    return (visits["patient"] == patient) & (visits["month"] == month)


def _treated_by(visits: pd.DataFrame, therapist: str) -> pd.Series:
    return visits["therapist"] == therapist


def _direction(visits: pd.DataFrame) -> pd.DataFrame:
    turned = (5 - visits["sipp"]).round(2)
    return visits.assign(sipp=visits["sipp"].mask(_treated_by(visits, "T05"), turned))


def _codes(visits: pd.DataFrame) -> pd.DataFrame:
    return visits.assign(bsi=visits["bsi"].fillna(-9), sipp=visits["sipp"].fillna(999))


def _slip(visits: pd.DataFrame) -> pd.DataFrame:
    times_ten = (10 * visits["bsi"]).round(1)
    return visits.assign(bsi=visits["bsi"].mask(_row(visits, "P135", 36), times_ten))


def _commas(visits: pd.DataFrame) -> pd.DataFrame:
    written = visits["bsi"].map("{:g}".format, na_action="ignore")
    commas = written.str.replace(".", ",", regex=False)
    return visits.assign(bsi=written.mask(_treated_by(visits, "T02"), commas))


def _by_admission(visits: pd.DataFrame) -> pd.DataFrame:
    return visits.assign(cohort=np.where(visits["admitted"] < pd.Timestamp(CHANGE), "before", "during"))


def _changing_cohort(visits: pd.DataFrame) -> pd.DataFrame:
    return visits.assign(cohort=visits["cohort"].mask(_row(visits, "P128", 36), "before"))


def _spellings(visits: pd.DataFrame) -> pd.DataFrame:
    number = visits["patient"].str[1:].astype(int)
    spelled = [SPELLINGS[sex][n % 3] for sex, n in zip(visits["sex"], number, strict=True)]
    return visits.assign(sex=spelled)


def _swapped_dates(visits: pd.DataFrame) -> pd.DataFrame:
    wrong = visits["patient"].isin(["P022", "P077", "P149"])
    start, end = visits["admitted"], visits["ended"]
    return visits.assign(admitted=start.mask(wrong, end), ended=end.mask(wrong, start))


def _impossible_date(visits: pd.DataFrame) -> pd.DataFrame:
    written = visits["admitted"].dt.strftime("%Y-%m-%d")
    return visits.assign(admitted=written.mask(visits["patient"] == "P086", "2005-06-31"))


def _two_numbers(visits: pd.DataFrame) -> pd.DataFrame:
    later = visits["month"] > 0
    return visits.assign(patient=visits["patient"].mask(later, visits["patient"].replace(NEW_NUMBERS)))


def _weeks(visits: pd.DataFrame) -> pd.DataFrame:
    return visits.assign(month=visits["month"].mask(_treated_by(visits, "T03"), visits["month"].replace(WEEKS)))


def _twice(visits: pd.DataFrame) -> pd.DataFrame:
    again = _row(visits, "P009", 18) | _row(visits, "P064", 36) | _row(visits, "P140", 18) | _row(visits, "P140", 36)
    return pd.concat([visits, visits[again]], ignore_index=True)


# In the order in which they are planted: what hides another comes later, and is mended first.
FAULTS: Mapping[str, Plant] = MappingProxyType(
    {
        "direction": _direction,
        "codes": _codes,
        "slip": _slip,
        "commas": _commas,
        "straddlers": _by_admission,
        "changing cohort": _changing_cohort,
        "spellings": _spellings,
        "swapped dates": _swapped_dates,
        "impossible date": _impossible_date,
        "two numbers": _two_numbers,
        "weeks": _weeks,
        "twice": _twice,
    }
)


def plant_faults(visits: pd.DataFrame, *faults: str) -> pd.DataFrame:
    """Show what an export of a study looks like in which twelve things went wrong.

    Parameters
    ----------
    visits : pandas.DataFrame
        What `simulate_through_change` returns, or `load_example("mended_reorganisation")`.
    *faults : str
        Which faults, names of `FAULTS`; none are all twelve.

    Returns
    -------
    pandas.DataFrame
        The visits with these faults.

    Raises
    ------
    DataError
        If there is no such fault.

    Examples
    --------
    >>> from implstats import load_example
    >>> from implstats.simulate import FAULTS, plant_faults
    >>> visits = load_example("mended_reorganisation")
    >>> len(FAULTS), len(visits), len(plant_faults(visits, "twice"))
    (12, 469, 473)
    """
    for name in faults:
        _check.one_of("faults", name, list(FAULTS))
    for name, plant in FAULTS.items():
        if not faults or name in faults:
            visits = plant(visits)
    return visits
