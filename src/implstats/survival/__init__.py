"""Time to an event: when programmes stop and patients leave, and what that has to do with how they were run."""

from implstats.survival.competing import CumulativeIncidence, cumulative_incidence
from implstats.survival.cox import fit_cox
from implstats.survival.curves import SurvivalCurves, survival_curves
from implstats.survival.discrete import DiscreteHazardResult, fit_discrete_hazard
from implstats.survival.fine_gray import FineGrayResult, fit_fine_gray
from implstats.survival.gray import GrayTest, gray_test
from implstats.survival.hazards import CoxResult
from implstats.survival.lifetimes import ParametricResult
from implstats.survival.logrank import LogRank, logrank
from implstats.survival.parametric import fit_parametric
from implstats.survival.proportional import ProportionalHazards
from implstats.survival.rmst import RMST, rmst

__all__ = [
    "RMST",
    "CoxResult",
    "CumulativeIncidence",
    "DiscreteHazardResult",
    "FineGrayResult",
    "GrayTest",
    "LogRank",
    "ParametricResult",
    "ProportionalHazards",
    "SurvivalCurves",
    "cumulative_incidence",
    "fit_cox",
    "fit_discrete_hazard",
    "fit_fine_gray",
    "fit_parametric",
    "gray_test",
    "logrank",
    "rmst",
    "survival_curves",
]
