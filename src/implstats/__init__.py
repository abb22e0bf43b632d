"""implstats measures what the implementation of a treatment does to its outcome."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Where each public name lives; its module is imported on first use.
_ROOMS = {
    "errors": ("BoundaryWarning", "ConvergenceError", "DataError", "ImplstatsError", "PlanError"),
    "results": ("Estimates", "Result", "Sample"),
    "design": ("NaturalSpline", "Piecewise"),
    "examples": ("describe_example", "list_examples", "load_example"),
    "reading": ("read_data", "spells_from_dates", "split_spells", "visits_from_dates", "visits_from_wide"),
    "growth": (
        "Bootstrap",
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
    ),
    "survival": (
        "CoxResult",
        "CumulativeIncidence",
        "DiscreteHazardResult",
        "FineGrayResult",
        "GrayTest",
        "LogRank",
        "ParametricResult",
        "ProportionalHazards",
        "RMST",
        "SurvivalCurves",
        "cumulative_incidence",
        "fit_cox",
        "fit_discrete_hazard",
        "fit_fine_gray",
        "fit_parametric",
        "gray_test",
        "logrank",
        "rmst",
        "survival_curves",
    ),
    "ratings": (
        "ICC",
        "Agreement",
        "RatingProfile",
        "WithinGroupAgreement",
        "WithinGroupBounds",
        "gwet_ac1",
        "icc",
        "kappa",
        "krippendorff_alpha",
        "rating_profile",
        "within_group_agreement",
        "within_group_bounds",
    ),
    "cohorts": (
        "BalanceTable",
        "CohortAssignment",
        "PlaceboChanges",
        "PropensityWeights",
        "assign_cohorts",
        "balance_table",
        "placebo_changes",
        "propensity_weights",
    ),
    "change": ("ReliableChange", "reliable_change"),
    "rates": ("RateComparison", "compare_rates"),
    "combine": ("CombinedProgrammes", "combine_programmes"),
    "phases": ("PhaseProgress", "StateOccupation", "phase_progress", "state_occupation"),
    "study": ("CohortComparison", "Overall", "compare_cohorts"),
    "sensitivity": (
        "EValue",
        "LeaveOneOut",
        "NaturalChange",
        "PatternMixture",
        "TippingPoint",
        "e_value",
        "leave_one_out",
        "natural_change",
        "pattern_mixture",
        "tipping_point",
    ),
    "simulate": (
        "DropOut",
        "OutcomeTruth",
        "PhaseScenario",
        "PowerCurve",
        "ProgrammeScenario",
        "Scenario",
        "power",
        "simulate_phases",
        "simulate_programmes",
        "simulate_visits",
    ),
    "batch": ("RunComparison", "compare_runs", "run_plan"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", "plot", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "plot":
        return importlib.import_module("implstats.plot")
    if name in _HOME:
        value = getattr(importlib.import_module(f"implstats.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'implstats' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
