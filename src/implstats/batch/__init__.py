"""Plans: an analysis written down, checked whole, and carried out into a folder that a reader can open."""

from implstats.batch.check import Checked, check_plan
from implstats.batch.plan import Analysis, Data, Plan, Roles, read_plan
from implstats.batch.run import run_plan

__all__ = ["Analysis", "Checked", "Data", "Plan", "Roles", "check_plan", "read_plan", "run_plan"]
