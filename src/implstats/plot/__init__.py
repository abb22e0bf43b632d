"""Pictures of results, the only room that draws: every function takes a result and returns matplotlib Axes."""

from implstats.plot.diagnose import influence, quantiles
from implstats.plot.effects import coefficients, effect_forest
from implstats.plot.incidence import incidence
from implstats.plot.models import missingness, random_effects, residuals
from implstats.plot.power import power
from implstats.plot.survival import log_log, survival
from implstats.plot.tipping import tipping
from implstats.plot.trajectories import trajectories

__all__ = [
    "coefficients",
    "effect_forest",
    "incidence",
    "influence",
    "log_log",
    "missingness",
    "power",
    "quantiles",
    "random_effects",
    "residuals",
    "survival",
    "tipping",
    "trajectories",
]
