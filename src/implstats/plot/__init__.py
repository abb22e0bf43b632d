"""Pictures of results, the only room that draws: every function takes a result and returns matplotlib Axes."""

from implstats.plot.diagnose import influence, quantiles
from implstats.plot.effects import coefficients, effect_forest
from implstats.plot.hazard import hazard
from implstats.plot.incidence import incidence
from implstats.plot.models import missingness, random_effects, residuals
from implstats.plot.proportional import schoenfeld
from implstats.plot.ratios import hazard_ratios
from implstats.plot.survival import log_log, survival
from implstats.plot.trajectories import trajectories

__all__ = [
    "coefficients",
    "effect_forest",
    "hazard",
    "hazard_ratios",
    "incidence",
    "influence",
    "log_log",
    "missingness",
    "quantiles",
    "random_effects",
    "residuals",
    "schoenfeld",
    "survival",
    "trajectories",
]
