"""Moderators of change: the same as explicit products, what does not matter, who is judged by what, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES: dict[str, Any] = {"outcome": "y", "time": "month", "patient": "patient", "better": "lower", "shape": "linear"}
COHORTS = {"cohort": "era", "reference": "before"}
BARS = "(1 + month | patient) + (1 | site) + (0 + month | site)"


def made(sites: int = 12, each: int = 6, seed: int = 8, point: float = -0.006) -> pd.DataFrame:
    """Return patients of rated sites, most of which treated patients of both eras."""
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(sites), each)
    n = len(site)
    adherence = np.round(rng.uniform(1, 7, sites), 1)[site]
    t = np.tile(np.arange(0, 25, 6.0), (n, 1))
    slope = -0.03 + point * (adherence - 4) + rng.normal(0, 0.012, sites)[site] + rng.normal(0, 0.01, n)
    y = 2 + (rng.normal(0, 0.35, sites)[site] + rng.normal(0, 0.4, n))[:, None] + slope[:, None] * t
    y += rng.normal(0, 0.25, t.shape)
    by_patient = {
        "patient": np.arange(n),
        "site": [f"s{k}" for k in site],
        "era": np.where((np.arange(n) + site) % 3, "during", "before"),
        "adherence": adherence,
        "kind": np.array(["clinic", "day", "home"])[site % 3],
        "drive": rng.normal(50, 10, n).round(),
        "change": np.where(np.arange(n) % 2, 9.0, np.nan),
        "w": rng.uniform(0.5, 2, n),
    }
    k = t.shape[1]
    return pd.DataFrame(
        {name: np.repeat(v, k) for name, v in by_patient.items()} | {"month": t.ravel(), "y": y.ravel()}
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made()


def centred(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the scores less their mean over patients."""
    once = frame.drop_duplicates("patient")
    return frame.assign(a=frame["adherence"] - once["adherence"].mean(), d=frame["drive"] - once["drive"].mean())


MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "sites": (
        {"moderators": "adherence", "groups": "site", **COHORTS},
        f"month * era + a + month:a + {BARS} + (0 + month | site:era)",
    ),
    "one course": ({"moderators": "adherence", "groups": "site"}, f"month + a + month:a + {BARS}"),
    "of patients": (
        {"moderators": ["drive", "adherence"], "random": "uncorrelated", **COHORTS},
        "month * era + d + a + month:d + month:a + (1 | patient) + (0 + month | patient)",
    ),
    "visits": (
        {"moderators": "drive", "shape": "visits", "adjust": ["kind"], **COHORTS},
        "C(month) * era + kind + d + C(month):d + (1 + month | patient)",
    ),
    "interrupted": (
        {"moderators": "drive", "interruption": "change"},
        "month + d + month:d + level + since + (1 + month | patient)",
    ),
}


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("model", MODELS)
def test_it_is_the_model_with_explicit_products(frame: pd.DataFrame, model: str, method: str) -> None:
    options, formula = MODELS[model]
    result = ist.fit_growth(frame, method=method, **(ROLES | options))
    more = centred(frame)
    more["level"] = (more["month"] >= more["change"]).astype(float)
    more["since"] = (more["month"] - more["change"]).clip(lower=0).fillna(0.0)
    other = ist.fit_mixed(more, formula=f"y ~ {formula}", method=method)
    assert result.fit.deviance == pytest.approx(other.fit.deviance, abs=1e-7)
    names = {"a": "adherence", "d": "drive", "level": "change[level]", "since": "change[slope]"}
    theirs = other.tidy()
    parts = theirs["term"].str.replace(r"C\(month\)", "month", regex=True).str.split(":")
    theirs.index = [":".join(names.get(p, p) for p in term) for term in parts]
    mine = result.tidy().set_index("term")
    assert set(mine.index) == set(theirs.index)
    for column in ("estimate", "std_error", "df", "conf_low"):
        np.testing.assert_allclose(mine[column], theirs.loc[mine.index, column], rtol=2e-4, atol=1e-7)
    known = result.predict()["estimate"]
    assert list(known) == pytest.approx(list(other.predict()["estimate"]), abs=1e-6)
    again = result.predict(frame)["estimate"]
    assert list(again) == pytest.approx(list(other.predict(more)["estimate"]), abs=1e-6)


def test_a_point_is_the_product_times_the_time(frame: pd.DataFrame) -> None:
    result = ist.fit_growth(frame, moderators="adherence", groups="site", **ROLES, **COHORTS)
    table = result.moderation([6, 24]).tidy()
    term = result.tidy().set_index("term").loc["month:adherence"]
    sd = frame.drop_duplicates("patient")["adherence"].std()
    for quantity, size in (("per point", 1.0), ("per sd", sd)):
        rows = table[table["quantity"] == quantity]
        np.testing.assert_allclose(rows["estimate"], size * term["estimate"] * np.array([6, 24]), rtol=1e-9)
        np.testing.assert_allclose(rows["std_error"], size * term["std_error"] * np.array([6, 24]), rtol=1e-9)
    # Means one point apart differ by the score's own effect and that of time with it.
    means = result.moderated_means([0, 24], values=[3, 4]).tidy().pivot_table("estimate", ["quantity", "time"], "value")
    start = result.params["adherence"]
    apart = means[4] - means[3]
    assert apart["level", 0] == pytest.approx(start)
    assert apart["level", 24] == pytest.approx(start + 24 * term["estimate"])
    assert apart["change", 24] == pytest.approx(24 * term["estimate"])


def test_other_answers_are_about_the_mean_score(frame: pd.DataFrame) -> None:
    result = ist.fit_growth(frame, moderators="adherence", groups="site", **ROLES, **COHORTS)
    mean = frame.drop_duplicates("patient")["adherence"].mean()
    held = result.moderated_means([6, 24], values=[mean]).tidy()
    pd.testing.assert_frame_equal(
        held.query("quantity == 'level'")[["estimate", "std_error", "df"]].reset_index(drop=True),
        result.means([6, 24]).tidy()[["estimate", "std_error", "df"]],
    )
    changes = result.changes([6, 24]).tidy()["estimate"]
    np.testing.assert_allclose(-held.query("quantity == 'change'")["estimate"], changes)
    assert result.trends().tidy()["estimate"].iloc[0] == pytest.approx(result.params["month"])


def test_shift_and_scale_of_the_score(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, moderators="adherence", groups="site", **ROLES, **COHORTS)
    other = ist.fit_growth(
        frame.assign(adherence=100 - 10 * frame["adherence"]), moderators="adherence", groups="site", **ROLES, **COHORTS
    )
    # Two columns ten times as large: REML's determinant of X'WX grows by 10^(2 x 2).
    assert other.fit.deviance == pytest.approx(one.fit.deviance + 4 * np.log(10), abs=1e-6)
    mine, theirs = (fit.moderation([24]).tidy().set_index("quantity") for fit in (one, other))
    assert theirs.loc["per point", "estimate"] == pytest.approx(-mine.loc["per point", "estimate"] / 10, rel=1e-4)
    assert theirs.loc["per sd", "estimate"] == pytest.approx(-mine.loc["per sd", "estimate"], rel=1e-4)
    np.testing.assert_allclose(theirs[["p_value", "df"]], mine[["p_value", "df"]], rtol=1e-3)
    for ask in ("means", "contrasts", "effect_sizes", "retained_improvement"):
        a, b = (getattr(fit, ask)([24]).tidy()["estimate"] for fit in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_ratings_of_a_profile_go_in_as_they_are(frame: pd.DataFrame) -> None:
    once = frame.drop_duplicates("site")
    items = [
        {"item": f"i{k}", "level": "team", "site": site, "score": score + shift}
        for site, score in zip(once["site"], once["adherence"], strict=True)
        for k, shift in enumerate((-0.5, 0.0, 0.5))
    ]
    profile = ist.rating_profile(pd.DataFrame(items), item="item", level="level", group="site", score="score")
    rated = frame.assign(rating=profile.exposure(frame, group="site"))
    mine = ist.fit_growth(rated, moderators="rating", groups="site", **ROLES, **COHORTS)
    direct = ist.fit_growth(frame, moderators="adherence", groups="site", **ROLES, **COHORTS)
    np.testing.assert_allclose(mine.moderation([24]).tidy()["estimate"], direct.moderation([24]).tidy()["estimate"])
    rated["stopped"], rated["until"] = frame["patient"] % 2, 1 + frame["patient"] % 17
    last = rated[rated["month"] == 24]
    model = ist.fit_cox(last, duration="until", event="stopped", terms=["rating"], cluster="site")
    assert "36 events in 72 rows; 36 events per parameter (1 in all)" in repr(model)


def test_rows_and_names_do_not_matter(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, moderators=["kind", "drive"], **ROLES, **COHORTS)
    mixed = frame.sample(frac=1, random_state=2).assign(patient=lambda f: "p" + f["patient"].astype(str))
    other = ist.fit_growth(mixed, moderators=["kind", "drive"], **ROLES, **COHORTS)
    pd.testing.assert_frame_equal(one.moderation([24]).tidy(), other.moderation([24]).tidy(), rtol=1e-4)


def test_a_category_of_two_is_a_score_of_0_and_1(frame: pd.DataFrame) -> None:
    two = frame.assign(home=frame["kind"] == "home", point=(frame["kind"] == "home").astype(int))
    category = ist.fit_growth(two, moderators="home", **ROLES, **COHORTS)
    number = ist.fit_growth(two, moderators="point", **ROLES, **COHORTS)
    row = category.moderation([24]).tidy().iloc[0]
    assert (row["moderator"], row["quantity"]) == ("home[True]", "difference")
    assert row["estimate"] == pytest.approx(number.moderation([24]).tidy()["estimate"].iloc[0], rel=1e-5)
    a = category.moderated_means([24]).tidy().query("quantity == 'level'")["estimate"]
    b = number.moderated_means([24], values=[0, 1]).tidy().query("quantity == 'level'")["estimate"]
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_patients_can_be_weighted(frame: pd.DataFrame) -> None:
    weights = {"method": "ml", "patient_weights": "w"}
    product = centred(frame).assign(at=lambda f: f["a"] * f["month"])
    other = ist.fit_growth(product, adjust=["a", "at"], **weights, **ROLES, **COHORTS).tidy().set_index("term")
    mine = ist.fit_growth(frame, moderators="adherence", **weights, **ROLES, **COHORTS).tidy().set_index("term")
    for ours, theirs in (("adherence", "a"), ("month:adherence", "at"), ("month:era[during]", "month:era[during]")):
        np.testing.assert_allclose(
            mine.loc[ours, ["estimate", "std_error"]], other.loc[theirs, ["estimate", "std_error"]], rtol=1e-4
        )


def test_a_baseline_column_takes_the_score_along(frame: pd.DataFrame) -> None:
    start = frame[frame["month"] == 0].set_index("patient")["y"]
    later = frame[frame["month"] > 0].assign(pre=lambda f: f["patient"].map(start))
    one = ist.fit_growth(frame, moderators="drive", **ROLES, **COHORTS)
    other = ist.fit_growth(later, moderators="drive", baseline="pre", **ROLES, **COHORTS)
    pd.testing.assert_frame_equal(one.moderation([24]).tidy(), other.moderation([24]).tidy(), rtol=1e-4)


def test_patients_without_a_score_are_dropped_and_counted(frame: pd.DataFrame) -> None:
    holes = frame.assign(drive=frame["drive"].where(frame["patient"] > 3))
    result = ist.fit_growth(holes, moderators="drive", **ROLES, **COHORTS)
    assert result.sample.dropped == {"drive missing": 20}
    assert "drive" in result.augment()
    with pytest.raises(DataError, match=r"^missing='raise': drive missing in rows 0, 1, 2 and 17 more"):
        ist.fit_growth(holes, moderators="drive", missing="raise", **ROLES, **COHORTS)


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_the_error_of_a_rating_is_between_what_was_rated() -> None:
    """Sites change at their own pace, whatever their score: taking patients as independent makes too sure of it."""
    beyond = {"site": 0, None: 0}
    for seed in range(30):
        frame = made(seed=seed, point=0.0)
        for groups in beyond:
            fit = ist.fit_growth(frame, moderators="adherence", groups=groups, **ROLES)
            beyond[groups] += int(fit.moderation([24]).tidy()["p_value"].iloc[0] < 0.05)
    # Of 30 with a level of .05 more than 5 come one time in 300.
    assert beyond["site"] <= 5
    assert beyond[None] > 5


def test_it_is_put_in_words(frame: pd.DataFrame) -> None:
    words = " ".join(repr(ist.fit_growth(frame, moderators="adherence", groups="site", **ROLES, **COHORTS)).split())
    assert "y ~ month * era + adherence + month:adherence + (1 + month | patient) + (1 | site)" in words
    assert "adherence is a score of 12 sites, and is judged by what lies between these means" in words
    once = frame.drop_duplicates("patient")["adherence"]
    assert f"means and contrasts hold adherence at {once.mean():.4g} (SD {once.std():.3g}), as over the" in words
    few = frame[frame["site"].isin(["s1", "s2", "s3", "s4", "s6"])]
    words = " ".join(repr(ist.fit_growth(few, moderators="adherence", groups="site", **ROLES)).split())
    assert "score of 5 sites, and is judged by what lies between these; with fewer than 10, one site can make" in words
    assert "each site has its own change" in words
    alone = " ".join(repr(ist.fit_growth(frame, moderators=["kind", "adherence"], **ROLES, **COHORTS)).split())
    assert "kind has 3 values in 72 patients, and errors take patients as independent" in alone
    assert "hold kind at the shares of its levels, adherence at" in alone
    assert "kind" not in " ".join(repr(ist.fit_growth(frame, **ROLES, **COHORTS)).split())


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_sites_rated_anew_in_each_cohort(frame: pd.DataFrame) -> None:
    anew = frame.assign(adherence=frame["adherence"] + (frame["era"] == "during") * frame["site"].str[1:].astype(int))
    words = " ".join(repr(ist.fit_growth(anew, moderators="adherence", groups="site", **ROLES, **COHORTS)).split())
    assert "adherence is a score of 24 sites by cohort, and is judged by what lies between these" in words
    assert "(0 + month | site:era)" in words
    # Where two sites alone treated patients of both eras, those rated still have their own change.
    few = anew[anew["site"].isin(["s1", "s2"]) | ((anew["era"] == "during") == anew["site"].isin(["s3", "s4", "s5"]))]
    words = " ".join(repr(ist.fit_growth(few, moderators="adherence", groups="site", **ROLES, **COHORTS)).split())
    assert "adherence is a score of 14 sites by cohort" in words
    assert "(1 | site) + (0 + month | site:era)" in words
    assert "each site has its own change in each cohort" in words


def test_new_rows_have_a_score(frame: pd.DataFrame) -> None:
    result = ist.fit_growth(frame, moderators=["adherence", "kind"], **ROLES, **COHORTS)
    new = pd.DataFrame({"month": 24.0, "era": "before", "adherence": [2.0, 3.0], "kind": "day", "patient": -1})
    low, high = result.predict(new)["estimate"]
    assert high - low == pytest.approx(result.params["adherence"] + 24 * result.params["month:adherence"])
    with pytest.raises(DataError, match=r"^newdata: no column 'adherence'"):
        result.predict(new.drop(columns="adherence"))
    with pytest.raises(DataError, match=r"^kind='flat': a level that the fit has not seen"):
        result.predict(new.assign(kind="flat"))


def test_it_goes_along_with_bootstrap_diagnosis_and_comparison(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, moderators="drive", method="ml", **ROLES, **COHORTS)
    boot = ist.bootstrap(one, n=40, rng=1).tidy().set_index("term")["std_error"]
    ratio = boot / one.tidy().set_index("term")["std_error"]
    assert ratio.loc[["drive", "month:drive"]].between(0.6, 1.7).all()
    assert len(ist.diagnose(one).influence()) == 72
    without = ist.fit_growth(frame, method="ml", **ROLES, **COHORTS)
    assert ist.compare_models(without, one).tidy()["df"].iloc[1] == 2
    assert one.cross_check()["difference"].abs().max() < 1e-3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": (
        {"moderators": "adherance"},
        "moderators='adherance': no such column; did you mean 'adherence'?",
    ),
    "twice": ({"moderators": ["drive", "drive"]}, "moderators='drive': named twice; name it once"),
    "of the visit": (
        {"moderators": "y2"},
        "moderators='y2': changes within a patient (rows 1, 2, 3 and 285 more); give each patient one value, in all "
        "rows",
    ),
    "another's role": (
        {"moderators": "site", "groups": "site"},
        "groups='site': is named as moderators= too; each role has a column of its own",
    ),
    "a covariate": (
        {"moderators": "drive", "adjust": ["drive"]},
        "adjust=['drive']: 'drive' has a role of its own; use fit_mixed for other formulas",
    ),
    "one score": ({"moderators": "one"}, "moderators='one': all patients have 3; there is nothing to compare"),
    "one score a cohort": (
        {"moderators": "by_era"},
        "moderators='by_era': one value for each cohort, so it is another name for the cohort, and a regression on it "
        "only says again how cohorts differ, for whatever reason; compare the cohorts, and show their ratings beside "
        "the answer",
    ),
    "two programmes": (
        {"moderators": "half", "groups": "programme"},
        "moderators='half': ratings of 2 programmes; with so few, ratings are another name for the programmes; compare "
        "these, and show their ratings beside the answer",
    ),
    "as many as there are scores": (
        {"moderators": ["third", "square"], "groups": "of_three"},
        "moderators=['third', 'square']: ratings of 3 of_threes; with so few, ratings are another name for the "
        "of_threes; compare these, and show their ratings beside the answer",
    ),
    "numbers as text": (
        {"moderators": "text"},
        "moderators='text': the column holds numbers as text, such as '",
    ),
    "infinite": (
        {"moderators": "endless"},
        "moderators='endless': infinite in rows 0, 1, 2 and 2 more; mend the value",
    ),
    "nothing": ({"moderators": "none"}, "moderators='none': every value is missing"),
    "two names of one thing": (
        {"moderators": ["drive", "twice"]},
        "'twice', 'month:twice': a linear combination of the other terms, or empty; drop it, or merge the categories",
    ),
    "without cohorts, a variance by cohort": (
        {"moderators": "drive", "residual": "by_cohort", "cohort": None, "reference": None},
        "residual='by_cohort': there are no cohorts; name them by cohort=, or say residual='iid'",
    ),
    "neither cohorts nor a score": (
        {"moderators": None, "cohort": None, "reference": None},
        "cohort=None: no such column",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(frame: pd.DataFrame, case: str) -> None:
    options, message = REFUSED[case]
    third = frame["patient"] % 3
    more = frame.assign(
        y2=frame["month"] * 2,
        one=3,
        by_era=np.where(frame["era"] == "during", 2.45, 6.14),
        half=np.where(frame["patient"] % 2, 2.0, 5.0),
        programme=np.where(frame["patient"] % 2, "a", "b"),
        third=third.astype(float),
        square=(third**2).astype(float),
        of_three=third.map({0: "a", 1: "b", 2: "c"}),
        text=frame["drive"].astype(int).astype(str),
        endless=frame["drive"].where(frame["patient"] > 0, np.inf),
        none=np.nan,
        twice=2 * frame["drive"] - 7,
    )
    with pytest.raises(DataError) as caught:
        ist.fit_growth(more, **(ROLES | COHORTS | options))
    assert message in str(caught.value)


def test_what_was_not_fitted_is_not_answered(frame: pd.DataFrame) -> None:
    plain = ist.fit_growth(frame, **ROLES, **COHORTS)
    several = ist.fit_growth(frame, moderators=["kind", "drive"], **ROLES, **COHORTS)
    for ask, message in (
        (plain.moderation, "moderators=None: no score was fitted; name its column in fit_growth"),
        (plain.moderated_means, "moderators=None: no score was fitted; name its column in fit_growth"),
        (several.moderated_means, "moderator=None: there are 'kind', 'drive'; name one"),
        (
            lambda: several.moderated_means(moderator="kinds"),
            "moderator='kinds': unknown option; did you mean 'kind'?",
        ),
        (
            lambda: several.moderated_means(moderator="kind", values=["dya"]),
            "values='dya': unknown option; did you mean 'day'?",
        ),
        (lambda: several.moderated_means(moderator="drive", values="high"), "values='high': not a list of scores; "),
        (lambda: several.moderated_means(moderator="drive", values=["a"]), "values='a': not a number"),
        (lambda: several.moderation([0]), "at=0: this is the baseline; nothing has changed yet"),
    ):
        with pytest.raises(DataError) as caught:
            ask()
        assert str(caught.value).startswith(message)
    alone = ist.fit_growth(frame, moderators="drive", **ROLES)
    with pytest.raises(DataError, match=r"^cohort=None: all patients are on one course, so there are no cohorts"):
        alone.contrasts()
