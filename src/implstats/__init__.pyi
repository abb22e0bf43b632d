from implstats import plot as plot
from implstats.batch import run_plan as run_plan
from implstats.design import NaturalSpline as NaturalSpline
from implstats.design import Piecewise as Piecewise
from implstats.errors import BoundaryWarning as BoundaryWarning
from implstats.errors import ConvergenceError as ConvergenceError
from implstats.errors import DataError as DataError
from implstats.errors import ImplstatsError as ImplstatsError
from implstats.errors import PlanError as PlanError
from implstats.examples import list_examples as list_examples
from implstats.examples import load_example as load_example
from implstats.growth import GrowthResult as GrowthResult
from implstats.growth import MixedResult as MixedResult
from implstats.growth import RetainedImprovement as RetainedImprovement
from implstats.growth import fit_growth as fit_growth
from implstats.growth import fit_mixed as fit_mixed
from implstats.reading import read_data as read_data
from implstats.reading import visits_from_dates as visits_from_dates
from implstats.reading import visits_from_wide as visits_from_wide
from implstats.results import Estimates as Estimates
from implstats.results import Result as Result
from implstats.results import Sample as Sample
from implstats.simulate import Scenario as Scenario
from implstats.simulate import simulate_visits as simulate_visits
from implstats.study import CohortComparison as CohortComparison
from implstats.study import compare_cohorts as compare_cohorts

__version__: str
