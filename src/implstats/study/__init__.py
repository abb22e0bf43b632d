"""The main job: how much less well a treatment worked under other circumstances, over several outcomes."""

from implstats.study.compare import CohortComparison, compare_cohorts
from implstats.study.overall import Overall

__all__ = ["CohortComparison", "Overall", "compare_cohorts"]
