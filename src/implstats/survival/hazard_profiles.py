"""What a Cox model predicts: hazard ratios of new rows, and the survival of profiles with intervals."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._core import baseline, cox, firth, frailty
from implstats.design.spells import Spells
from implstats.errors import DataError
from implstats.results import Result, lock
from implstats.survival.hazard_words import in_strata
from implstats.survival.profiles import log_hazards, profile_rows
from implstats.survival.times import asked as asked_times

__all__ = ["Fitted", "HazardProfiles"]

Floats = NDArray[np.float64]
Fitted: TypeAlias = cox.Fit | firth.Fit | frailty.Fit


class HazardProfiles(Result):
    """What a fitted Cox model says about rows and profiles that it has not seen."""

    spells: Spells
    model: cox.Model
    fit: Fitted
    robust: Floats | None

    @abstractmethod
    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, log hazard ratio and residuals."""

    @property
    def _covariance(self) -> Floats:
        return self.fit.vcov if self.robust is None else self.robust

    @cached_property
    def _state(self) -> cox.State:
        if isinstance(self.fit, frailty.Fit):
            return self.fit.state
        return cox.evaluate(self.model, self.fit.beta * self.model.scale)

    def predict(
        self, newdata: pd.DataFrame | None = None, *, level: float = 0.95, hazard_ratio: bool = False
    ) -> pd.DataFrame:
        """Return the log hazard ratio of each row of new data against the mean of every column over the rows used.

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            Columns of the terms; by default the rows of the fit.
        level : float
        hazard_ratio : bool
            Gives hazard ratios in place of their logarithms.
        """
        _check.flag("hazard_ratio", hazard_ratio)
        frame = None if newdata is None else _check.frame(newdata, "newdata")
        X = (self.spells.X if frame is None else self.spells.rows_of(frame)) - self.spells.X.mean(axis=0)
        parts = log_hazards(X, self.fit.beta, self._covariance, level, ratio=hazard_ratio)
        out = self.augment().iloc[:, : len(self.spells.roles)] if frame is None else frame.copy()
        return out.assign(**parts)

    @cached_property
    def _baseline(self) -> baseline.Baseline:
        if isinstance(self.fit, frailty.Fit) and self.fit.theta > 0:
            raise DataError(
                "frailty: survival depends on the group's own hazard ratio, of which a profile says nothing; "
                "fit with cluster= or strata= in its place"
            )
        if self.call.get("patient_weights") is not None:
            raise DataError(
                f"patient_weights={_check.show(self.call['patient_weights'])}: the baseline's error takes rows for "
                "whole ones, which weighted patients are not; survival_curves(weights=) shows their survival, "
                "predict() has hazard ratios"
            )
        made = baseline.baseline(self.model, self._state, self.fit.beta * self.model.scale)
        lock(made)
        return made

    def survival_at(self, profile: Any, times: Any, *, level: float = 0.95) -> pd.DataFrame:
        """Return the share without the event of each profile at some times, with intervals symmetric in its logarithm.

        Parameters
        ----------
        profile : mapping of column to value, or DataFrame
            One row a profile: columns of the terms, and of the strata; without the strata, each profile in every one.
        times : number or list of numbers
            In the unit of the duration, up to the last time of the stratum.
        level : float

        Notes
        -----
        The variance of the cumulative hazard counts the coefficients (robust where there are clusters) and the
        baseline. Under delayed entry survival is that from time 0 on, put together from those at risk at each time.
        Where events recur, `baseline` gives their expected number, and survival means little.

        Raises
        ------
        DataError
            A time beyond the last of its stratum; a frailty; a hazard of one cause beside others.
        """
        if len(self.spells.causes) > 1:
            raise DataError(
                f"cause={_check.show(self.call['cause'])}: other causes end spells too, so that its hazard alone gives "
                "no share of them; see cumulative_incidence, and incidence_at() of fit_fine_gray"
            )
        asked = asked_times(times)
        half = special.ndtri(0.5 + _check.level(level) / 2)
        frame, strata = in_strata(self.spells, self.call["strata"], profile_rows(profile))
        for stratum in np.unique(strata):
            last = float(self.spells.exit[self.spells.stratum == stratum].max())
            if asked[-1] > last:
                here = f" of stratum {self.spells.strata[stratum]}" if len(self.spells.strata) > 1 else ""
                raise DataError(f"times={_check.show(asked[-1])}: beyond the last time{here}, {_check.show(last)}")
        X = self.spells.rows_of(frame)
        hazard, error = self._baseline.at(X, strata, asked, self._covariance)
        out = frame.iloc[np.repeat(np.arange(len(frame)), len(asked))].reset_index(drop=True)
        survival = np.exp(-hazard)
        low, high = np.exp(-hazard - half * error), np.exp(np.minimum(half * error - hazard, 0.0))
        parts = {"estimate": survival, "std_error": survival * error, "conf_low": low, "conf_high": high}
        return out.assign(time=np.tile(asked, len(frame)), **{k: v.ravel() for k, v in parts.items()})

    def baseline(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return one row a stratum and event time: the cumulative hazard where every column has its mean.

        Parameters
        ----------
        level : float
            Level of the intervals, symmetric in the logarithm of survival, the negative of what is shown.
        """
        half, parts = special.ndtri(0.5 + _check.level(level) / 2), []
        mean = self.spells.X.mean(axis=0)[None, :]
        for stratum in np.unique(self._baseline.stratum):
            times = self._baseline.time[self._baseline.stratum == stratum]
            hazard, error = (x[0] for x in self._baseline.at(mean, np.array([stratum]), times, self._covariance))
            part = pd.DataFrame({"time": times, "estimate": hazard, "std_error": error})
            part["conf_low"], part["conf_high"] = np.maximum(hazard - half * error, 0.0), hazard + half * error
            part.insert(0, "stratum", self.spells.strata[stratum])
            parts.append(part)
        return pd.concat(parts, ignore_index=True)
