"""Who is in which cohort, and were they alike: what is asked before outcomes are compared."""

from implstats.cohorts.balance import BalanceTable, balance_table
from implstats.cohorts.propensity import PropensityWeights, propensity_weights

__all__ = ["BalanceTable", "PropensityWeights", "balance_table", "propensity_weights"]
