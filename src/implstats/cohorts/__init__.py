"""Who is in which cohort, and were they alike: what is asked before outcomes are compared."""

from implstats.cohorts.assign import CohortAssignment, assign_cohorts
from implstats.cohorts.balance import BalanceTable, balance_table
from implstats.cohorts.placebo import PlaceboChanges, placebo_changes
from implstats.cohorts.propensity import PropensityWeights, propensity_weights

__all__ = [
    "BalanceTable",
    "CohortAssignment",
    "PlaceboChanges",
    "PropensityWeights",
    "assign_cohorts",
    "balance_table",
    "placebo_changes",
    "propensity_weights",
]
