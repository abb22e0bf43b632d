"""Every kind of analysis of a batch says of a site what the call in Python says of its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

import implstats as ist
from implstats import __main__ as command
from implstats.batch import check_plan, read_plan, run_plan
from implstats.errors import PlanError
from implstats.examples import example_files
from implstats.results import COLUMNS

ROLES: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
SD = {"bsi": 0.5, "sipp": 0.4}
Write = Callable[..., Path]

TIMES = """
[batch]
by = "country"
family = ["means", "rates"]
[[batch.analysis]]
name = "means"
kind = "rmst"
file = "programmes.csv"
duration = "years"
event = "discontinued"
by = "era"
reference = "late"
tau = 4
[[batch.analysis]]
name = "rates"
kind = "logrank"
file = "programmes.csv"
duration = "years"
event = "discontinued"
by = "era"
weights = "wilcoxon"
"""


def table(folder: Path, name: str = "cells") -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", float_precision="round_trip")


def analysis(kind: str, *lines: str) -> tuple[str, str]:
    """Return the change of the small plan that makes its only analysis one of a kind, in given SDs."""
    old = 'name = "growth"\nkind = "growth"\nat = [18, 36]\nshape = "linear"'
    return old, "\n".join([f'name = "it"\nkind = "{kind}"', *lines])


GIVEN = ('by = "site"', f'by = "site"\nsd = {{ bsi = {SD["bsi"]}, sipp = {SD["sipp"]} }}')


def cells(small: Write, tmp_path: Path, *change: tuple[str, str], data: pd.DataFrame | None = None) -> pd.DataFrame:
    found = table(run_plan(small(GIVEN, *change, data=data), out=tmp_path / "out"))
    assert set(found["error"].dropna()) == set()
    assert set(found) <= set(COLUMNS)
    return found


@pytest.fixture
def wider(sites: pd.DataFrame) -> pd.DataFrame:
    """Return two sites with a weight and a time of change for every patient."""
    here = sites[sites["site"].isin(["NL", "NO"])].copy()
    who = here["patient"].unique()
    source = np.random.default_rng(5)
    here["weight"] = here["patient"].map(dict(zip(who, source.uniform(0.5, 2, len(who)).round(3), strict=True)))
    changed = dict(zip(who, source.integers(3, 30, len(who)), strict=True))
    here["changed"] = here["patient"].map(changed).where(here["cohort"] == "before", 0)
    return here


# Cohorts: what if


def test_a_tipping_point_is_that_of_the_mmrm(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    change = analysis("tipping_point", "at = 36", "deltas = [0, 0.5, 3]", 'worse = ["before"]', "imputations = 10")
    found = cells(small, tmp_path, change)
    here = sites[sites["site"] == "NO"]
    mmrm = ist.compare_cohorts(here, outcomes={"sipp": "higher"}, at=36, model="mmrm", **ROLES).fits["sipp"]
    deltas = [0, 0.5 * SD["sipp"], 3 * SD["sipp"]]
    tipped = ist.tipping_point(mmrm, at=36, deltas=deltas, worse="before", imputations=10, rng=1)
    mine = found.query("site == 'NO' and outcome == 'sipp'")
    for quantity, unit in (("difference", SD["sipp"]), ("retained", 1.0)):
        theirs, ours = (one[one["quantity"] == quantity] for one in (tipped.tidy(), mine))
        assert ours["delta_sd"].tolist() == [0, 0.5, 3]
        for column in ("estimate", "std_error", "conf_low", "conf_high"):
            np.testing.assert_allclose(ours[column], theirs[column] / unit, rtol=1e-14)
    turns = tipped.turns().query("quantity == 'difference'")["delta"] / SD["sipp"]
    np.testing.assert_allclose(mine.query("quantity == 'tipping point'")["estimate"], turns, rtol=1e-14)
    assert len(turns) == 1
    assert found["p_value"].isna().all()


def test_every_delta_is_pooled_on_its_own(small: Write, tmp_path: Path) -> None:
    cells(small, tmp_path, analysis("tipping_point", "deltas = [0, 1]", "imputations = 5"))
    pooled = table(tmp_path / "out", "pooled").query("outcome == 'bsi'")
    assert pooled["delta_sd"].tolist() == [0, 1]
    assert pooled["sites"].tolist() == [2, 2]
    assert pooled["estimate"].is_monotonic_decreasing
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "at month 36, if those who left fared 1 SD worse, in SDs (during - before)" in report


def test_natural_change_is_that_of_the_model(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    change = analysis("natural_change", "at = 36", "over = [0, 0.3]", 'source = "a guess"', 'model = "growth"')
    found = cells(small, tmp_path, change).query("site == 'NL' and outcome == 'bsi'")
    here = sites[sites["site"] == "NL"]
    study = ist.compare_cohorts(here, outcomes={"bsi": "lower"}, at=36, model="growth", sd=SD["bsi"], **ROLES)
    theirs = ist.natural_change(study, over=[0, 0.3]).tidy()
    assert found["natural"].tolist() == [0, 0.3]
    for column in ("estimate", "conf_low", "conf_high"):
        np.testing.assert_allclose(found[column], theirs[column], rtol=1e-12)
    assert set(found["quantity"]) == {"retained"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (analysis("tipping_point", 'worse = ["later"]'), "worse='later': unknown option"),
        (analysis("tipping_point", "at = 12"), "at=12"),
        (analysis("tipping_point", "deltas = []"), "[batch.analysis it] deltas=[]: no time is named"),
        (analysis("natural_change", "at = 36", 'over = "much"'), "[batch.analysis it] over='much'"),
        (analysis("natural_change"), "[batch.analysis it] at: missing"),
        (analysis("kappa", 'file = "visits.csv"', 'item = "a"', 'rater = "b"'), "score: missing"),
        (analysis("krippendorff_alpha", 'item = "a"'), '] metric: missing; write "nominal"'),
        (analysis("within_group_agreement", 'rater = "a"'), "scale: missing; write the ends of the scale"),
        (analysis("rmst", 'duration = "years"'), "by: missing; name the column with the groups to compare"),
        (analysis("mmrm", "at = 36", 'moderators = ["age"]'), "[batch.analysis it] moderators: unknown key"),
        (
            analysis("growth", "at = 36", 'moderators = ["agee"]'),
            "moderators='agee': no such column; did you mean 'age'?",
        ),
        (
            analysis("growth", "at = 36", 'patient_weights = "age"', 'groups = ["therapist"]'),
            "groups=['therapist']: not",
        ),
        (analysis("growth", "at = 36", 'patient_weights = "age"', 'df = "satterthwaite"'), "df='satterthwaite': not"),
    ],
)
def test_faults_name_the_key(small: Write, tmp_path: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(PlanError) as caught:
        run_plan(small(change), out=tmp_path / "out")
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


# Cohorts: keys of the models


def test_weights_of_patients(small: Write, wider: pd.DataFrame, tmp_path: Path) -> None:
    here = wider[wider["site"] == "NL"]
    fits = {
        "mmrm": ist.fit_mmrm(
            here,
            outcome="sipp",
            visit="month",
            better="higher",
            patient_weights="weight",
            method="ml",
            by_cohort=True,
            **{k: v for k, v in ROLES.items() if k != "time"},
        ),
        "growth": ist.fit_growth(
            here, outcome="sipp", better="higher", patient_weights="weight", method="ml", shape="linear", **ROLES
        ),
    }
    for kind, fit in fits.items():
        lines = ["at = 36", 'patient_weights = "weight"'] + ['shape = "linear"'] * (kind == "growth")
        out = tmp_path / kind
        found = table(run_plan(small(GIVEN, analysis(kind, *lines), data=wider), out=out))
        mine = found.query("site == 'NL' and outcome == 'sipp' and quantity in ['d', 'difference']")
        theirs = fit.effect_sizes(36, sd=SD["sipp"], df="normal").tidy()
        for column in ("estimate", "std_error", "conf_low", "conf_high"):
            np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-10)


def test_scores_and_a_change_of_circumstances(small: Write, wider: pd.DataFrame, tmp_path: Path) -> None:
    change = analysis("growth", "at = 36", 'shape = "linear"', 'moderators = ["age"]', 'interruption = "changed"')
    found = cells(small, tmp_path, change, data=wider).query("site == 'NL' and outcome == 'sipp'")
    here = wider[wider["site"] == "NL"]
    fit = ist.fit_growth(
        here, outcome="sipp", better="higher", shape="linear", moderators="age", interruption="changed", **ROLES
    )
    how = {"df": "kenward-roger"}
    for name, theirs in (
        ("moderation", fit.moderation(36, **how).tidy()),
        ("interruption", fit.interruption(**how).tidy()),
    ):
        mine = found[found["quantity"].str.startswith(name)]
        assert mine["quantity"].tolist() == [f"{name} {quantity}" for quantity in theirs["quantity"]]
        for column in ("estimate", "std_error", "df", "p_value", "conf_low", "conf_high"):
            np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-10)
    gap = fit.effect_sizes(36, sd=SD["sipp"], **how).tidy().query("quantity == 'difference'")
    np.testing.assert_allclose(found.query("quantity == 'difference'")["estimate"], gap["estimate"], rtol=1e-10)
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert (
        "are without what began at changed (a step, and another course since), which cells.csv tells apart." in report
    )
    assert "are at the mean of age; cells.csv has what a point changes." in report


# Times


@pytest.fixture
def times(tmp_path: Path) -> pd.DataFrame:
    programmes = ist.load_example("programmes")
    programmes.to_csv(tmp_path / "programmes.csv", index=False)
    (tmp_path / "plan.toml").write_text(TIMES, encoding="utf-8")
    run_plan(tmp_path / "plan.toml", out=tmp_path / "out")
    return programmes


def test_mean_times_and_tests_of_rates(times: pd.DataFrame, tmp_path: Path) -> None:
    found = table(tmp_path / "out")
    assert set(found["error"].dropna()) == set()
    here = times[times["country"] == "B"]
    asked = {"duration": "years", "event": "discontinued", "by": "era"}
    theirs = ist.rmst(here, **asked, tau=4, reference="late").tidy()
    mine = found.query("site == 'B' and analysis == 'means'")
    assert mine["quantity"].tolist() == ["rmst", "rmst", "rmst difference", "rmst ratio"]
    assert mine["cohort"].tolist() == theirs["group"].tolist() == ["late", "early", "early", "early"]
    for column in ("estimate", "std_error", "conf_low", "conf_high", "p_value"):
        np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-14)
    test = ist.logrank(here, **asked, weights="wilcoxon")
    row = found.query("site == 'B' and analysis == 'rates'").iloc[0]
    assert (row["statistic"], row["df"], row["p_value"]) == (test.statistic, test.df, test.p_value)
    assert (row["term"], row["n"]) == (test.test, test.rows.sum())


def test_differences_of_mean_times_are_pooled_and_both_are_corrected(times: pd.DataFrame, tmp_path: Path) -> None:
    found, pooled = table(tmp_path / "out"), table(tmp_path / "out", "pooled")
    tested = found[found["quantity"].isin(["rmst difference", "log-rank test"])]
    assert len(tested) == 3 + 3
    np.testing.assert_allclose(tested["p_holm"], multipletests(tested["p_value"], method="holm")[1], rtol=1e-12)
    assert found.drop(tested.index)["p_holm"].isna().all()
    rows = found.query("quantity == 'rmst difference'")
    mean = ist.combine_programmes(rows, estimate="estimate", std_error="std_error", programme="site").tidy()
    mean = mean.set_index("quantity").loc["mean"]
    assert pooled["quantity"].tolist() == ["rmst difference"]
    assert pooled["estimate"].item() == pytest.approx(mean["estimate"], rel=1e-12)
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "over 3 sites, the difference in mean time up to 4 of early minus late was " in report
    assert "Not pooled over the sites, and told cell by cell in cells.csv: rates." in report
    assert (tmp_path / "out" / "figures" / "forest_means_discontinued_early.svg").is_file()


# Raters


@pytest.fixture
def scored() -> pd.DataFrame:
    source = np.random.default_rng(3)
    truth = source.normal(4, 1, (2, 14))
    rows = [
        {"site": "AB"[s], "case": f"case {k:02}", "rater": rater, "score": int(np.clip(np.rint(value), 1, 7))}
        for s in range(2)
        for k in range(14)
        for rater, value in zip(["Jansen", "Peeters", "Smit"], truth[s, k] + source.normal(0, 0.7, 3), strict=True)
    ]
    return pd.DataFrame(rows)


def rated(scored: pd.DataFrame, tmp_path: Path, kind: str, *lines: str) -> pd.Series:
    """Return the first row of site B."""
    scored.to_csv(tmp_path / "ratings.csv", index=False)
    roles = ['rater = "rater"', 'score = "score"', *([] if kind.startswith("within") else ['item = "case"'])]
    text = [f'[data]\nfile = "ratings.csv"\n[batch]\nby = "site"\n[[batch.analysis]]\nname = "it"\nkind = "{kind}"']
    (tmp_path / "plan.toml").write_text("\n".join([*text, *roles, *lines]), encoding="utf-8")
    out = run_plan(tmp_path / "plan.toml", out=tmp_path / "out")
    everything = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert b"Jansen" not in everything
    assert b"case 07" not in everything
    found = table(out)
    assert set(found["error"].dropna()) == set()
    return found[found["site"] == "B"]


@pytest.mark.parametrize(
    ("kind", "lines", "options"),
    [
        ("kappa", (), {}),
        ("gwet_ac1", ("categories = [1, 2, 3, 4, 5, 6, 7]",), {"categories": [1, 2, 3, 4, 5, 6, 7]}),
        (
            "krippendorff_alpha",
            ('metric = "ordinal"', "draws = 50", "seed = 4"),
            {"metric": "ordinal", "draws": 50, "rng": 4},
        ),
        ("krippendorff_alpha", ('metric = "interval"', "draws = 50"), {"metric": "interval", "draws": 50, "rng": 1}),
    ],
)
def test_agreement_beyond_chance(
    scored: pd.DataFrame, tmp_path: Path, kind: str, lines: tuple[str, ...], options: dict[str, Any]
) -> None:
    row = rated(scored, tmp_path, kind, *lines).iloc[0]
    here = scored[scored["site"] == "B"]
    theirs = getattr(ist, kind)(here, item="case", rater="rater", score="score", **options).tidy().iloc[0]
    for column in ("quantity", "estimate", "std_error", "conf_low", "conf_high"):
        assert row[column] == (theirs[column] if column == "quantity" else pytest.approx(theirs[column], rel=1e-12))
    assert row["n"] == 14 * 3


def test_weighted_kappa_of_two(scored: pd.DataFrame, tmp_path: Path) -> None:
    two = scored[scored["rater"] != "Smit"]
    row = rated(two, tmp_path, "kappa", 'weights = "quadratic"').iloc[0]
    here = two[two["site"] == "B"]
    theirs = ist.kappa(here, item="case", rater="rater", score="score", weights="quadratic")
    assert (row["quantity"], row["estimate"]) == ("weighted kappa", pytest.approx(theirs.estimate, rel=1e-12))


def test_agreement_within_groups_names_no_group(scored: pd.DataFrame, tmp_path: Path) -> None:
    rows = rated(scored, tmp_path, "within_group_agreement", 'group = "case"', "scale = [1, 7]").set_index("quantity")
    here = scored[scored["site"] == "B"]
    theirs = ist.within_group_agreement(here, group="case", rater="rater", score="score", scale=(1, 7)).tidy()
    assert rows.loc["mean r_wg", "estimate"] == pytest.approx(theirs["estimate"].mean(), rel=1e-12)
    assert rows.loc["lowest r_wg", "estimate"] == pytest.approx(theirs["estimate"].min(), rel=1e-12)


def test_every_kind_is_explained(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from implstats.batch.many import KINDS

    text = bundled.read_text(encoding="utf-8")
    others = "".join(example_files(name)[2].read_text(encoding="utf-8") for name in ("reorganisation", "programmes"))
    for name, kind in KINDS.items():
        assert f'"{name}"' in text
        for key in kind.keys:
            assert f"\n{key} = " in text + others or f"\n# {key} = " in text + others, (name, key)
    # What is switched off can be switched on: each section is read, and only its table is not there.
    on = text.replace("# [[", "[[").replace('# name = "', 'name = "').replace('# kind = "', 'kind = "')
    bundled.write_text(on, encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        check_plan(read_plan(bundled))
    assert "no such kind" not in str(caught.value)
    assert command.main(["check", str(bundled)]) == 2
    assert "unknown key" not in capsys.readouterr().err
