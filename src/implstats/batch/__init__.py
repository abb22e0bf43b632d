"""Plans: an analysis written down, checked whole, and carried out into a folder that a reader can open."""

from implstats.batch.check import Checked, check_plan
from implstats.batch.comparison import Analysis, Comparison, Roles
from implstats.batch.data import Data
from implstats.batch.diff import RunComparison, compare_runs
from implstats.batch.plan import Plan, read_plan
from implstats.batch.run import run_plan
from implstats.batch.survival import Survival

__all__ = [
    "Analysis",
    "Checked",
    "Comparison",
    "Data",
    "Plan",
    "Roles",
    "RunComparison",
    "Survival",
    "check_plan",
    "compare_runs",
    "read_plan",
    "run_plan",
]
