"""One made example of every concrete Result, with ordinary names and with names that try to break a table."""

from __future__ import annotations

import inspect
import pkgutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
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


_PEOPLE = {"cohort": "cohort", "reference": "before"}


def _start(hostile: bool) -> Any:
    frame = _visits(hostile)
    return frame[frame["month"] == 0]


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
def _ratings(hostile: bool, of: str, **options: Any) -> Any:
    """Return a result about three raters' scores of six items, or about one agreed value per item."""
    scores = [[1, 1, 2], [2, 2, 2], [3, 4, 3], [4, 4, 5], [5, 5, 5], [3, 2, 3]]
    score = f"score {HOSTILE}" if hostile else "score"
    frame = pd.DataFrame(scores).rename_axis("item").reset_index().melt("item", var_name="rater", value_name=score)
    frame["group"] = frame["item"].map(lambda k: HOSTILE if hostile and k % 2 else "before" if k % 2 else "during")
    if of == "rating_profile":
        agreed = frame.drop_duplicates("item").assign(level="team", item=lambda t: t["item"] // 2)
        return ist.rating_profile(agreed, item="item", level="level", group="group", score=score)
    if of == "within_group_bounds":
        means = pd.DataFrame({"mean": [4.2, 3.1], "low": [3, 2], "high": 5, "case": ["a", HOSTILE if hostile else "b"]})
        roles = {"mean": "mean", "low": "low", "high": "high", "group": "case"}
        return ist.within_group_bounds(means, **roles, raters=12, scale=(1, 5))
    return getattr(ist, of)(frame, item="item", rater="rater", score=score, **options)


def _staff(hostile: bool) -> Any:
    """Return how often staff left, by cohort."""
    name = f"left {HOSTILE}" if hostile else "left"
    frame = pd.DataFrame({"era": ["before", HOSTILE if hostile else "during"] * 3, "years": [20.0, 22, 18, 25, 31, 19]})
    frame[name] = [1, 4, 0, 7, 2, 9]
    return ist.compare_rates(frame, events=name, exposure="years", cohort="era", reference="before")


def _effects(hostile: bool) -> Any:
    """Return the effects of three programmes, combined."""
    frame = pd.DataFrame(
        {"d": [-0.6, -0.1, -0.3], "se": [0.2, 0.2, 0.1], "of": ["a", HOSTILE if hostile else "b", "c"]}
    )
    roles = {"estimate": "d", "std_error": "se", "programme": "of"}
    return ist.combine_programmes(frame, **roles, effect=HOSTILE if hostile else "d")


def _reliable(hostile: bool) -> Any:
    roles = {"outcome": _outcome(hostile), "end": 36, "better": "lower", "reliability": 0.9, "cutoff": 0.8}
    return ist.reliable_change(_visits(hostile), **_ROLES, **roles)


def _left_out(hostile: bool) -> Any:
    return ist.leave_one_out(_growth(hostile), by="therapist", frame=_visits(hostile))


@cache
def _dated(hostile: bool, of: str) -> Any:
    """Return the example's cohorts by their dates, or the comparison at false ones."""
    frame = _visits(hostile)
    dates = {"start": "admitted", "end": "ended", "change": "2010-01-01", "patient": "patient", "time": "month"}
    if of == "assign_cohorts":
        names = ("before", HOSTILE if hostile else "during")
        return ist.assign_cohorts(frame, straddlers="third", names=names, **dates)
    options = {"outcome": _outcome(hostile), "at": 36, "fit": {"shape": "linear"}, "straddlers": "by_start"}
    return ist.placebo_changes(frame, false_changes=["2003-01-01", "2006-01-01"], **dates, **options)


def _log(hostile: bool) -> pd.DataFrame:
    """Return what two programmes did of four activities, and when."""
    days = ["2020-01-06", "2020-07-06", "2020-06-01", None, "2020-03-02", None, None, None]
    frame = pd.DataFrame({"of": ["a"] * 4 + [HOSTILE if hostile else "b"] * 4, "phase": [1, 1, 2, 3] * 2, "day": days})
    return frame.assign(what=["decided", "funded", "begun", HOSTILE] * 2, era=["before"] * 4 + [_era(hostile)] * 4)


def _progress(hostile: bool) -> Any:
    roles = {"programme": "of", "phase": "phase", "activity": "what", "date": "day", "by": "era"}
    scheme = ["plan", HOSTILE if hostile else "do", "keep"]
    return ist.phase_progress(_log(hostile), **roles, scheme=scheme, study_end="2020-12-31")


def _occupation(hostile: bool) -> Any:
    roles = {"id": "programme", "state": "state", "start": "start", "stop": "stop", "next_state": "next_state"}
    return ist.state_occupation(_progress(hostile).histories(), **roles, by="group")


def _power(hostile: bool) -> Any:
    names = ("before", HOSTILE if hostile else "during")
    truth = ist.OutcomeTruth("lower", 2.0, 0.5, {c: {12: 1.0} for c in names}, residual_sd=0.3)
    scenario = ist.Scenario(dict.fromkeys(names, 20), {_outcome(hostile): truth}, visits=(0, 12))
    return ist.power(scenario, n=20, replicates=4, rng=1)


def _runs(hostile: bool) -> Any:
    """Return what moved between two runs of a plan of raters' agreement at one site."""
    scores = {"case": [1, 1, 2, 2, 3, 3], "rater": ["a", "b"] * 3, "score": [1, 2, 4, 4, 6, 5]}
    plan = '[batch]\nby = "site"\nlevel = 0.95\n[[batch.analysis]]\nname = "agreement"\nkind = "ratings"\n'
    plan += 'file = "ratings.csv"\nitem = "case"\nrater = "rater"\nscore = "score"\n'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pd.DataFrame(scores).assign(site=HOSTILE if hostile else "x").to_csv(folder / "ratings.csv", index=False)
        for run, level in (("old", "0.95"), ("new", "0.9")):
            (folder / "plan.toml").write_text(plan.replace("0.95", level), encoding="utf-8")
            ist.run_plan(folder / "plan.toml", out=folder / run)
        return ist.compare_runs(folder / "old", folder / "new")


# A new Result needs one line here: its name, and how to make one from the bundled example.
EXAMPLES: dict[str, Callable[[bool], Any]] = {
    "Agreement": lambda hostile: _ratings(hostile, "krippendorff_alpha", metric="ordinal", draws=50, rng=1),
    "BalanceTable": lambda hostile: ist.balance_table(
        _start(hostile), **_PEOPLE, covariates=["age", _outcome(hostile)]
    ),
    "Bootstrap": _bootstrap,
    "CohortAssignment": lambda hostile: _dated(hostile, "assign_cohorts"),
    "CohortComparison": _study,
    "PhaseProgress": _progress,
    "ReliableChange": _reliable,
    "StateOccupation": _occupation,
    "RateComparison": _staff,
    "NaturalChange": lambda hostile: ist.natural_change(_growth(hostile), over=[0, 0.3], source=_outcome(hostile)),
    "LeaveOneOut": _left_out,
    "EValue": lambda hostile: ist.e_value(0.56, upper=0.8, kind="hazard_ratio", effect=HOSTILE if hostile else "era"),
    "CombinedProgrammes": _effects,
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
    "ICC": lambda hostile: _ratings(hostile, "icc"),
    "LogRank": lambda hostile: ist.logrank(_spells(hostile), **_survival(hostile)),
    "MMRMResult": _mmrm,
    "MixedResult": _mixed,
    "ModelComparison": _models,
    "Overall": lambda hostile: _study(hostile).overall(at=36, draws=20, rng=1),
    "PropensityWeights": lambda hostile: ist.propensity_weights(
        _start(hostile), **_PEOPLE, covariates=["age", _outcome(hostile)]
    ),
    "PatternMixture": lambda hostile: ist.pattern_mixture(
        _visits(hostile), outcome=_outcome(hostile), better="lower", **_ROLES
    ),
    "PlaceboChanges": lambda hostile: _dated(hostile, "placebo_changes"),
    "PowerCurve": _power,
    "RunComparison": _runs,
    "RMST": lambda hostile: ist.rmst(_spells(hostile), **_survival(hostile)),
    "Resampled": lambda hostile: _bootstrap(hostile).effect_sizes(36),
    "RatingProfile": lambda hostile: _ratings(hostile, "rating_profile"),
    "RetainedImprovement": lambda hostile: _growth(hostile).retained_improvement(at=[18, 36]),
    "SurvivalCurves": lambda hostile: ist.survival_curves(_spells(hostile), **_survival(hostile)),
    "TippingPoint": lambda hostile: ist.tipping_point(_mmrm(hostile), deltas=[0, 1], imputations=5, rng=1),
    "WithinGroupAgreement": lambda hostile: _ratings(hostile, "within_group_agreement", group="group", scale=(1, 5)),
    "WithinGroupBounds": lambda hostile: _ratings(hostile, "within_group_bounds"),
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
