"""bootstrap(): the same draws whoever makes them, its answers those of fits to drawn frames, and what it refuses."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats import _parallel
from implstats.errors import ConvergenceError, DataError
from implstats.growth.bootstrap import Bootstrap, bootstrap, effect_size_draws, patient_weights
from implstats.growth.refits import Refits

pytestmark = pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")

Frames = Callable[..., pd.DataFrame]
FIELDS = ("beta", "deviance", "variances", "total", "good")


@pytest.fixture(scope="module")
def mmrm(make: Frames) -> Any:
    """Return an MMRM of three cohorts of 20."""
    frame = make(("before", "during", "after"), (0, 6, 12), each=20)
    roles = {"outcome": "score", "visit": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
    return ist.fit_mmrm(frame, better="lower", **roles)


@pytest.fixture(scope="module")
def boot(by_line: Any) -> Bootstrap:
    return bootstrap(by_line, n=399, rng=1)


def same(a: Bootstrap, b: Bootstrap) -> bool:
    parts: Any = [(a.versions, b.versions), (a.left_out, b.left_out)]
    return all(getattr(x.draws, f).tobytes() == getattr(y.draws, f).tobytes() for x, y in parts for f in FIELDS)


@pytest.mark.parametrize("kind", ["patients", "parametric"])
def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(by_visit: Any, mmrm: Any, kind: str) -> None:
    for result, n in ((by_visit, 520), (mmrm, 251)):
        alone = bootstrap(result, n=n, rng=7, kind=kind)
        assert len(alone.versions.dfs) + alone.failed == n
        assert same(alone, bootstrap(result, n=n, rng=7, kind=kind, workers=2))
        assert not same(alone, bootstrap(result, n=n, rng=8, kind=kind))


def test_a_generator_is_taken_as_it_stands_and_none_is_fresh(by_line: Any) -> None:
    rng = np.random.default_rng(3)
    first, second = (bootstrap(by_line, n=20, rng=rng) for _ in range(2))
    assert same(first, bootstrap(by_line, n=20, rng=np.random.default_rng(3)))
    assert not same(first, second)
    assert not same(bootstrap(by_line, n=20), bootstrap(by_line, n=20))


@pytest.mark.parametrize(("rng", "kept"), [(1, 1), (np.int64(1), 1), (None, None)])
def test_the_call_keeps_the_seed_and_the_header_says_where_there_is_none(by_line: Any, rng: Any, kept: Any) -> None:
    made = bootstrap(by_line, n=20, rng=rng)
    assert made.call["rng"] == kept
    assert ("without rng= the draws, and so the intervals" in "".join(made.header())) == (rng is None)


@pytest.mark.parametrize("n", [20, 250, 251, 300.0])
def test_every_draw_is_made_once(by_line: Any, n: Any) -> None:
    made = bootstrap(by_line, n=n, rng=1)
    assert made.glance().to_dict("records") == [{"n": n, "converged": True}]
    assert len(np.unique(made.versions.draws.deviance)) == n


def of_drawn_frames(result: Any, frame: pd.DataFrame, refit: Callable[..., Any], draws: int, seed: int) -> list[Any]:
    """Return the fits to the rows of the patients that the first draws of a seed hold."""
    refits = Refits(result)
    key = _parallel.generators(_parallel.seed_of(seed), 0)
    out = []
    for weights in patient_weights(refits.cohort_of, 20, key)[:draws]:
        parts = [
            frame[frame["patient"] == p].assign(patient=f"{p}#{k}")
            for p, w in zip(refits.patients, weights, strict=True)
            for k in range(int(w))
        ]
        out.append(refit(pd.concat(parts, ignore_index=True)))
    return out


@pytest.mark.parametrize("sd", ["baseline", "own", "reference", "model", 2.0])
def test_answers_in_draws_are_those_of_fits_to_drawn_frames(
    study_frame: pd.DataFrame, fit: Any, by_line: Any, sd: Any
) -> None:
    made = bootstrap(by_line, n=20, rng=5)
    found = made.effect_sizes([6, 18], sd=sd)
    answers = {q: getattr(made, q)([6, 18]) for q in ("means", "contrasts", "changes")}
    singles = of_drawn_frames(by_line, study_frame, lambda f: fit(f, shape="linear"), 3, 5)
    for k, single in enumerate(singles):
        wanted = single.effect_sizes([6, 18], sd=sd).tidy()
        np.testing.assert_allclose(found.draws[k], wanted["estimate"], rtol=1e-4, atol=1e-5)
        for question, answer in answers.items():
            estimate = getattr(single, question)([6, 18]).tidy()["estimate"]
            np.testing.assert_allclose(answer.draws[k], estimate, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.estimate, by_line.effect_sizes([6, 18], sd=sd).tidy()["estimate"])


def test_three_cohorts_stand_in_the_order_of_the_result(mmrm: Any) -> None:
    made = bootstrap(mmrm, n=40, rng=1)
    found, whole = made.effect_sizes(), mmrm.effect_sizes()
    pd.testing.assert_frame_equal(found.tidy().iloc[:, :4], whole.tidy().iloc[:, :4])
    # No two rows are exchanged.
    np.testing.assert_allclose(found.draws.mean(axis=0), whole.tidy()["estimate"], atol=0.35)
    d = {(r.cohort, r.time): found.draws[:, k] for k, r in found.tidy().iterrows() if r.quantity == "d"}
    for k, r in found.tidy().query("quantity == 'difference'").iterrows():
        np.testing.assert_allclose(found.draws[:, k], d[r.cohort, r.time] - d["before", r.time])
    drawn, known = made.retained_improvement().tidy(), mmrm.retained_improvement().tidy()
    pd.testing.assert_frame_equal(drawn.iloc[:, :5], known.iloc[:, :5])
    alone = made.retained_improvement(12).tidy()
    pd.testing.assert_frame_equal(drawn[drawn["time"] == 12].reset_index(drop=True), alone)


def test_intervals_of_many_draws_are_near_those_of_the_formulas(by_visit: Any) -> None:
    made = bootstrap(by_visit, n=1500, rng=2, kind="parametric")
    for interval in ("percentile", "bca"):
        found, theory = made.contrasts(interval=interval).tidy(), by_visit.contrasts(df="normal").tidy()
        for end in ("conf_low", "conf_high"):
            assert (np.abs(found[end] - theory[end]) < 0.4 * theory["std_error"]).all()
        np.testing.assert_allclose(found["std_error"], theory["std_error"], rtol=0.08)
        drawn = made.retained_improvement(18, interval=interval).tidy()
        fieller = by_visit.retained_improvement(18).tidy()
        assert drawn["set"].tolist() == fieller["set"].tolist() == ["bounded"]
        np.testing.assert_allclose(drawn[["conf_low", "conf_high"]], fieller[["conf_low", "conf_high"]], atol=0.12)
    shares = made.variances(interval="percentile")
    assert ((shares["conf_low"] < shares["conf_high"]) & (shares["conf_high"] > 0)).all()


@pytest.mark.parametrize(
    ("change", "kinds"),
    [((-0.15, -0.6), {"outside", "unbounded"}), ((-1.2, -0.6), {"bounded"}), ((0.8, -0.6), {"none"})],
)
def test_the_set_has_fiellers_shape(make: Frames, fit: Any, change: tuple[float, float], kinds: set[str]) -> None:
    result = fit(make(change=change, each=20, seed=2), shape="linear")
    drawn = bootstrap(result, n=499, rng=1).retained_improvement(18).tidy()
    assert set(drawn["set"]) <= kinds
    assert drawn["set"].tolist() == result.retained_improvement(18).tidy()["set"].tolist()
    assert drawn["conf_low"].isna().tolist() == [kinds == {"none"}]


def test_the_method_of_a_result_is_the_bootstrap_of_the_same_seed(by_line: Any) -> None:
    for as_ in ("retained", "times"):
        given = {"as_": as_, "level": 0.9}
        direct = by_line.retained_improvement([6, 18], method="bootstrap", rng=1, draws=199, **given)
        pd.testing.assert_frame_equal(
            direct.tidy(), bootstrap(by_line, n=199, rng=1).retained_improvement([6, 18], **given).tidy()
        )
        assert direct.method == "bootstrap"


def test_fixed_effects_and_variances_have_a_row_each(boot: Bootstrap, mmrm: Any) -> None:
    for made in (boot, bootstrap(mmrm, n=30, rng=1)):
        pd.testing.assert_frame_equal(made.tidy().iloc[:, :2], made.result.tidy().iloc[:, :2])
        found = made.variances(level=0.5)
        pd.testing.assert_frame_equal(found.iloc[:, :-2], made.result.variances())
        inside = made.variances(level=0.99)
        assert (inside["conf_low"] <= found["conf_low"]).all()
        assert (inside["conf_high"] >= found["conf_high"]).all()


def test_outcomes_of_the_same_patients_are_drawn_together(make: Frames, fit: Any) -> None:
    frame = make(each=20)
    part = frame[~frame["patient"].isin([1, 2, 40])]
    fits = {"score": fit(frame, shape="linear"), "twice": fit(part.assign(score=2 * part["score"]), shape="linear")}
    found, failed = effect_size_draws(fits, [6, 18], "baseline", 30, np.random.default_rng(1))
    assert (found.shape, failed) == ((30, 2, 2, 2), 0)
    # The second is twice the first for all but three patients, and d knows no unit.
    for c, t in np.ndindex(2, 2):
        assert np.corrcoef(found[:, 0, c, t], found[:, 1, c, t])[0, 1] > 0.8
    again, _ = effect_size_draws({"score": fits["score"]}, [6, 18], "baseline", 30, np.random.default_rng(1))
    np.testing.assert_array_equal(found[:, 0], again[:, 0])


def test_percentiles_serve_where_too_many_would_be_left_out(monkeypatch: pytest.MonkeyPatch, by_line: Any) -> None:
    monkeypatch.setattr(sys.modules["implstats.growth.bootstrap"], "MOST_LEFT_OUT", 49)
    made = bootstrap(by_line, n=40, rng=1)
    assert made.left_out is None
    assert made.means().interval == made.default == "percentile"
    with pytest.raises(DataError) as caught:
        made.means(interval="bca")
    assert str(caught.value) == (
        "interval='bca': it leaves out each patient, and there are more than 49; "
        "say interval='percentile', which hardly differs then"
    )


def test_a_model_that_half_of_the_draws_do_not_fit_is_an_error(make: Frames, fit: Any) -> None:
    # Both later visits of both cohorts rest on one patient each, and 35 % of the draws miss any one of ten.
    frame = make(times=(0, 6, 12), each=10)
    cells = frame.groupby(["cohort", "month"]).cumcount()
    result = fit(frame[(cells == frame["month"] // 6) | (frame["month"] == 0)], random="intercept")
    with pytest.raises(ConvergenceError) as caught:
        bootstrap(result, n=100, rng=1)
    found = re.fullmatch(r"bootstrap: (\d+) of 100 draws could not be fitted; use a simpler model", str(caught.value))
    assert 65 < int(found[1] if found else 0) < 100


RNG = "rng='x': neither a whole number of 0 or more nor a numpy Generator; rng=1 gives the same draws every time"
FEW = "less than 20; 999 serve 95 % intervals"
FAULTS: list[tuple[Callable[[Bootstrap], Any], str]] = [
    (lambda b: bootstrap(b.result, n=5, workers=0, rng="x"), f"n=5: {FEW}\nworkers=0: less than 1\n{RNG}"),
    (lambda b: bootstrap(b.result, n="9"), "n='9': not a whole number; 999 serve 95 % intervals"),
    (lambda b: bootstrap(b.result, kind="patient"), "kind='patient': unknown option; did you mean 'patients'?"),
    (lambda b: bootstrap(b.result, kind="rows"), "kind='rows': unknown option; there are 'patients', 'parametric'"),
    (lambda b: bootstrap(b), "result: a Bootstrap is not a fitted model; give what fit_growth returns"),
    (lambda b: b.means(interval="bcaa"), "interval='bcaa': unknown option; did you mean 'bca'?"),
    (lambda b: b.tidy(interval="normal"), "interval='normal': unknown option; there are 'bca', 'percentile'"),
    (lambda b: b.effect_sizes(level=95), "level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
    (lambda b: b.effect_sizes(sd="modl"), "sd='modl': unknown option; did you mean 'model'?"),
    (lambda b: b.retained_improvement(as_="share"), "as_='share': unknown option; there are 'retained', 'times'"),
    (lambda b: b.result.retained_improvement(method="bootstrap", draws=5), f"draws=5: {FEW}"),
]


@pytest.mark.parametrize(("ask", "message"), FAULTS)
def test_faults_in_the_users_words(boot: Bootstrap, ask: Callable[[Bootstrap], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        ask(boot)
    assert str(caught.value) == message


def test_a_formula_has_no_cohorts_and_its_largest_factor_is_drawn(study_frame: pd.DataFrame) -> None:
    result = ist.fit_mixed(study_frame, formula="score ~ month + (1 | patient) + (1 | site)")
    made = bootstrap(result, n=20, rng=1)
    assert made.header() == [
        "Bootstrap of score ~ month + (1 | patient) + (1 | site): 20 draws, levels of patient drawn with replacement; "
        "95% BCa intervals",
        "patient is drawn, site is not: which ones were met is left out",
    ]
    for question in ("means", "contrasts", "changes", "effect_sizes", "retained_improvement"):
        with pytest.raises(DataError, match="fit_mixed knows no cohorts; ask tidy\\(\\) or variances\\(\\)"):
            getattr(made, question)()


def test_draws_without_an_sd_are_refused_and_no_number(study_frame: pd.DataFrame, fit: Any) -> None:
    few = (study_frame["month"] > 0) | (study_frame["cohort"] == "during") | (study_frame["patient"] < 4)
    made = bootstrap(fit(study_frame[few], shape="linear"), n=99, rng=1)
    for interval in ("percentile", "bca"):
        with pytest.raises(DataError, match=r"^sd='own': in \d+ of 99 draws the patients seen at month=0 are too few"):
            made.effect_sizes(18, sd="own", interval=interval)
        assert made.effect_sizes(18, sd="model", interval=interval).tidy().notna().all(axis=None)


def test_a_contrast_of_terms_is_the_draws_combination() -> None:
    visits = ist.load_example("reorganisation")
    fit = ist.fit_growth(
        visits, outcome="bsi", time="month", patient="patient", cohort="cohort", reference="before", shape="linear"
    )
    boot = ist.bootstrap(fit, n=40, rng=2)
    weights = {"month": 36.0, "month:cohort[during]": 36.0}
    made = boot.contrast(weights, interval="percentile", name="change")
    columns = [list(fit.design.names).index(term) for term in weights]
    np.testing.assert_allclose(made.draws[:, 0], 36 * boot.versions.draws.beta[:, columns].sum(axis=1))
    assert made.tidy()["term"].tolist() == ["change"]
    assert made.tidy()["estimate"][0] == pytest.approx(fit.contrast(weights).estimate[0])
