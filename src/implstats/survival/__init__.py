"""Time to an event: when programmes stop and patients leave, and what that has to do with how they were run."""

from implstats.survival.curves import SurvivalCurves, survival_curves
from implstats.survival.logrank import LogRank, logrank
from implstats.survival.rmst import RMST, rmst

__all__ = ["RMST", "LogRank", "SurvivalCurves", "logrank", "rmst", "survival_curves"]
