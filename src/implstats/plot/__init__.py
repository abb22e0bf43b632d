"""Pictures of results, the only room that draws: every function takes a result and returns matplotlib Axes."""

from implstats.plot.balance import balance
from implstats.plot.cohorts import cohorts, placebo
from implstats.plot.diagnose import influence, quantiles
from implstats.plot.effects import coefficients, effect_forest
from implstats.plot.hazard import hazard
from implstats.plot.incidence import incidence
from implstats.plot.models import missingness, random_effects, residuals
from implstats.plot.phases import phases
from implstats.plot.power import power
from implstats.plot.programmes import programmes
from implstats.plot.proportional import schoenfeld
from implstats.plot.ratings import ratings
from implstats.plot.ratios import hazard_ratios
from implstats.plot.sensitivity import leave_one_out, natural_change
from implstats.plot.survival import log_log, survival
from implstats.plot.tipping import tipping
from implstats.plot.trajectories import trajectories

__all__ = [
    "balance",
    "coefficients",
    "cohorts",
    "effect_forest",
    "hazard",
    "hazard_ratios",
    "incidence",
    "influence",
    "leave_one_out",
    "log_log",
    "missingness",
    "natural_change",
    "phases",
    "placebo",
    "power",
    "programmes",
    "quantiles",
    "random_effects",
    "ratings",
    "residuals",
    "schoenfeld",
    "survival",
    "tipping",
    "trajectories",
]
