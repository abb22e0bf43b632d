"""Growth models and what they answer about cohorts."""

from implstats.growth.bootstrap import Bootstrap, bootstrap
from implstats.growth.cohorts import CohortModel
from implstats.growth.compare import ModelComparison, compare_models
from implstats.growth.diagnose import Diagnosis, diagnose
from implstats.growth.fit import GrowthResult, fit_growth, fit_mixed
from implstats.growth.mmrm import MMRMResult, fit_mmrm
from implstats.growth.models import MixedResult
from implstats.growth.resampled import Resampled
from implstats.growth.retained import RetainedImprovement

__all__ = [
    "Bootstrap",
    "CohortModel",
    "Diagnosis",
    "GrowthResult",
    "MMRMResult",
    "MixedResult",
    "ModelComparison",
    "Resampled",
    "RetainedImprovement",
    "bootstrap",
    "compare_models",
    "diagnose",
    "fit_growth",
    "fit_mixed",
    "fit_mmrm",
]
