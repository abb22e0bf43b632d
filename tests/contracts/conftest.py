"""One made example of every concrete Result, with ordinary names and with names that try to break a table."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.results import Result

HOSTILE = "<script>alert('x')</script>|&_%"


def concrete_results() -> list[type[Result]]:
    """Return every Result subclass of the library that can be made, after importing all of it."""
    for module in pkgutil.walk_packages(ist.__path__, "implstats."):
        if not module.name.endswith("__main__") and "._examples" not in module.name:
            import_module(module.name)
    found: set[type[Result]] = set()
    waiting: list[type[Result]] = [Result]
    while waiting:
        for one in waiting.pop().__subclasses__():
            waiting.append(one)
            if one.__module__.startswith("implstats.") and not inspect.isabstract(one):
                found.add(one)
    return sorted(found, key=lambda c: c.__name__)


@cache
def _visits(hostile: bool) -> Any:
    frame = ist.load_example("reorganisation")
    if hostile:
        frame["cohort"] = frame["cohort"].astype(object).map({"before": "before", "during": HOSTILE})
        frame = frame.rename(columns={"bsi": f"bsi {HOSTILE}"})
    return frame


def _outcome(hostile: bool) -> str:
    return f"bsi {HOSTILE}" if hostile else "bsi"


_ROLES = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


@cache
def _growth(hostile: bool) -> Any:
    return ist.fit_growth(_visits(hostile), outcome=_outcome(hostile), better="lower", shape="linear", **_ROLES)


@cache
def _mixed(hostile: bool) -> Any:
    frame = _visits(hostile).rename(columns={_outcome(hostile): "bsi"})
    # The first level is the reference, which no term names.
    frame["cohort"] = pd.Categorical(frame["cohort"], sorted(set(frame["cohort"]), key=lambda c: c != "before"))
    return ist.fit_mixed(frame, formula="bsi ~ month * cohort + (1 + month | patient)")


@cache
def _study(hostile: bool) -> Any:
    outcomes = {_outcome(hostile): "lower", "sipp": "higher"}
    return ist.compare_cohorts(_visits(hostile), outcomes=outcomes, at=[18, 36], **_ROLES)


@cache
def _mmrm(hostile: bool) -> Any:
    roles = {("visit" if k == "time" else k): v for k, v in _ROLES.items()}
    return ist.fit_mmrm(_visits(hostile), outcome=_outcome(hostile), better="lower", **roles)


@cache
def _bootstrap(hostile: bool) -> Any:
    return ist.bootstrap(_growth(hostile), n=30, rng=1)


@cache
def _models(hostile: bool) -> Any:
    simple = ist.fit_growth(
        _visits(hostile), outcome=_outcome(hostile), better="lower", shape="linear", random="intercept", **_ROLES
    )
    return ist.compare_models(simple, _growth(hostile))


@cache
def _spells(hostile: bool) -> pd.DataFrame:
    name = HOSTILE if hostile else "stopped"
    years = [1.0, 2, 2, 3, 4, 5, 6, 7, 8, 9, 3, 5]
    eras = [HOSTILE if hostile else "during", "before"] * 6
    return pd.DataFrame({"years": years, name: [1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1], "era": eras})


def _survival(hostile: bool) -> dict[str, Any]:
    return {"duration": "years", "event": HOSTILE if hostile else "stopped", "by": "era"}


@cache
def _programmes(hostile: bool) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"years": rng.integers(1, 6, 60).astype(float), "stopped": rng.integers(0, 2, 60)})
    frame["status"] = rng.choice(["active", "merged", HOSTILE if hostile else "stopped"], 60)
    frame[_era(hostile)] = rng.choice(["before", HOSTILE if hostile else "during"], 60)
    return frame


def _era(hostile: bool) -> str:
    return f"era {HOSTILE}" if hostile else "era"


def _hazard(hostile: bool, fit: str, **options: Any) -> Any:
    era = _era(hostile)
    roles = {"duration": "years", "event": "stopped", "terms": [era], "reference": {era: "before"}}
    return getattr(ist, fit)(_programmes(hostile), **roles | options)


def _causes(hostile: bool) -> dict[str, Any]:
    return {"duration": "years", "event": "status", "censored": "active"}


@cache
def _power(hostile: bool) -> Any:
    names = ("before", HOSTILE if hostile else "during")
    truth = ist.OutcomeTruth("lower", 2.0, 0.5, {c: {12: 1.0} for c in names}, residual_sd=0.3)
    scenario = ist.Scenario(dict.fromkeys(names, 20), {_outcome(hostile): truth}, visits=(0, 12))
    return ist.power(scenario, n=20, replicates=4, rng=1)


# A new Result needs one line here: its name, and how to make one from the bundled example.
EXAMPLES: dict[str, Callable[[bool], Any]] = {
    "Bootstrap": _bootstrap,
    "CohortComparison": _study,
    "CoxResult": lambda hostile: _hazard(hostile, "fit_cox"),
    "CumulativeIncidence": lambda hostile: ist.cumulative_incidence(_programmes(hostile), **_causes(hostile)),
    "DiscreteHazardResult": lambda hostile: _hazard(hostile, "fit_discrete_hazard", baseline="polynomial"),
    "FineGrayResult": lambda hostile: _hazard(hostile, "fit_fine_gray", **_causes(hostile), cause="merged"),
    "GrayTest": lambda hostile: ist.gray_test(_programmes(hostile), **_causes(hostile), by=_era(hostile)),
    "ParametricResult": lambda hostile: _hazard(hostile, "fit_parametric"),
    "ProportionalHazards": lambda hostile: _hazard(hostile, "fit_cox").proportional_hazards(),
    "Diagnosis": lambda hostile: ist.diagnose(_growth(hostile)),
    "Estimates": lambda hostile: _growth(hostile).contrasts(at=[18, 36]),
    "GrowthResult": _growth,
    "LogRank": lambda hostile: ist.logrank(_spells(hostile), **_survival(hostile)),
    "MMRMResult": _mmrm,
    "MixedResult": _mixed,
    "ModelComparison": _models,
    "Overall": lambda hostile: _study(hostile).overall(at=36, draws=20, rng=1),
    "PowerCurve": _power,
    "RMST": lambda hostile: ist.rmst(_spells(hostile), **_survival(hostile)),
    "Resampled": lambda hostile: _bootstrap(hostile).effect_sizes(36),
    "RetainedImprovement": lambda hostile: _growth(hostile).retained_improvement(at=[18, 36]),
    "SurvivalCurves": lambda hostile: ist.survival_curves(_spells(hostile), **_survival(hostile)),
}


@cache
def _made(name: str, hostile: bool) -> Any:
    made = EXAMPLES[name](hostile)
    assert type(made).__name__ == name
    return made


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Any:
    """Return the example of a class that a test was parametrised with."""
    return _made(request.param, False)


@pytest.fixture
def hostile_example(request: pytest.FixtureRequest) -> Any:
    """Return the same, of data whose cohort and outcome are named to break tables."""
    return _made(request.param, True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for an example once per concrete Result; that none is left out is a test of its own."""
    for fixture in ("example", "hostile_example"):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, list(EXAMPLES), indirect=True)


@pytest.fixture
def without_example() -> list[str]:
    """Return the concrete results that nobody made an example of, and the examples of nothing."""
    return sorted({c.__name__ for c in concrete_results()} ^ set(EXAMPLES))
