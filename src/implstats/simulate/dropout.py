"""Patients who leave: one spell each, from admission to drop-out or to the end of treatment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats.reading import spells_from_dates

__all__ = ["dropout_spells"]


def dropout_spells(visits: pd.DataFrame) -> pd.DataFrame:
    """Tell how long each patient of a simulated study stayed, and who dropped out.

    Parameters
    ----------
    visits : pandas.DataFrame
        What `simulate_visits` returns for a scenario with `admission`, or `load_example("reorganisation")`.

    Returns
    -------
    pandas.DataFrame
        One row a patient: patient, cohort, admitted, the other columns that do not change, the outcomes at admission;
        months (until drop-out, or until the last planned visit), status (completed, dropped out), dropped_out (0 or 1);
        last_visit and next_visit (months; who dropped out did so between them; next_visit is missing for who stayed).

    Raises
    ------
    DataError
        If a column is missing or a date cannot be read.

    Notes
    -----
    Who completes is seen up to the last planned visit and censored there: nobody can drop out afterwards, so completion
    is the end of the time at risk and no competing cause.

    Examples
    --------
    >>> from implstats import load_example
    >>> from implstats.simulate import dropout_spells
    >>> spells = dropout_spells(load_example("reorganisation"))
    >>> spells.groupby("cohort")["dropped_out"].sum().to_dict()
    {'before': 11, 'during': 18}
    """
    faults = Faults()
    _check.columns(_check.frame(visits, "visits"), faults, patient="patient", month="month", ended="ended")
    faults.settle()
    planned = np.sort(visits["month"].unique())
    last = visits.groupby("patient")["month"].max().to_numpy()
    first = visits.drop_duplicates("patient").drop(columns="month")
    spells = spells_from_dates(
        first,
        start="admitted",
        end="ended",
        study_end=first["ended"].max(),
        unit="months",
        event="end_reason",
        censored="completed",
        same_day=0.5,
        columns=("entry", "months", "status"),
    )
    stays = (spells["status"] == "completed").to_numpy()
    spells["months"] = spells["months"].where(~stays, planned[-1])
    spells["dropped_out"] = (~stays).astype(int)
    spells["last_visit"] = last
    following = planned[np.minimum(np.searchsorted(planned, last) + 1, len(planned) - 1)]
    spells["next_visit"] = pd.Series(following, index=spells.index, dtype=float).where(~stays)
    return spells.drop(columns=["ended", "end_reason", "entry"]).reset_index(drop=True)
