"""The main job: its table is made of the parts, its words follow intervals, and a failed outcome leaves the others."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.tables import read_tables

ROLES: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
VERDICTS = (
    *("significan", "no effect", "no difference", "assumption", "reject", "hypothes", "proof"),
    *("equivalen", "non-inferior", "effective treatment", "works"),
)


def made(
    cohorts: tuple[Any, ...] = ("before", "during"),
    times: tuple[float, ...] = (0, 6, 12, 18),
    change: tuple[float, ...] = (-1.2, -0.6, -0.9),
    each: int = 25,
) -> pd.DataFrame:
    """Return one row per patient and visit, with two outcomes: `score` (lower is better) and `skill` (higher is)."""
    rng = np.random.default_rng(8)
    n, k = each * len(cohorts), len(times)
    which = np.repeat(np.arange(len(cohorts)), each)
    share = np.tile(times, n) / max(times)
    slope = np.array(change)[which] + rng.normal(scale=0.5, size=n)
    drift = np.repeat(rng.normal(scale=0.7, size=n), k) + np.repeat(slope, k) * share
    frame = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(1, n + 1), k),
            "cohort": np.repeat(np.array(cohorts, dtype=object), each * k),
            "month": np.tile(times, n),
            "score": 3 + drift + rng.normal(scale=0.3, size=n * k),
        }
    )
    other = np.repeat(rng.normal(scale=0.5, size=n), k) - drift * 0.8
    return frame.assign(skill=5 + other + rng.normal(scale=0.4, size=n * k))


def compare(frame: pd.DataFrame, **options: Any) -> Any:
    """Return the comparison of both outcomes at months 12 and 18, unless said otherwise."""
    given = {"outcomes": {"score": "lower", "skill": "higher"}, "at": [12, 18]} | ROLES | options
    return ist.compare_cohorts(frame, **given)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made()


def alone(frame: pd.DataFrame, model: str, **options: Any) -> Any:
    """Return one outcome's model as a direct call fits it; a study takes the same at these visits."""
    if model == "growth":
        return ist.fit_growth(frame, **ROLES, **options)
    roles = {("visit" if k == "time" else k): v for k, v in ROLES.items()}
    return ist.fit_mmrm(frame, **roles, by_cohort=True, **options)


@pytest.fixture(scope="module")
def two(frame: pd.DataFrame) -> Any:
    return compare(frame)


@pytest.fixture(scope="module")
def three() -> Any:
    return compare(made(("before", "during", "after")))


def prose(study: Any) -> str:
    """Return every sentence that a study says."""
    return "\n".join([*study.in_words(), *study.cannot_say(), study.methods(), *study.header()])


class TestTable:
    @pytest.mark.parametrize("model", ["mmrm", "growth"])
    def test_its_numbers_are_those_of_the_models(self, frame: pd.DataFrame, model: str) -> None:
        study = compare(frame) if model == "mmrm" else compare(frame, model=model)
        table = study.tidy().set_index(["outcome", "time"])
        assert set(table["model"]) == {model}
        for name, better in study.outcomes.items():
            fit = alone(frame, model, outcome=name, better=better)
            means = fit.means().tidy().set_index(["cohort", "time"])
            changes = fit.changes().tidy().set_index(["cohort", "time"])
            sizes = fit.effect_sizes().tidy().set_index(["quantity", "cohort", "time"])
            kept = fit.retained_improvement().tidy().set_index("time")
            gaps = fit.contrasts().tidy().set_index(["quantity", "time"])
            for t in (12.0, 18.0):
                row = table.loc[(name, t)]
                for cohort, tail in (("during", ""), ("before", "_reference")):
                    expected = {
                        f"n{tail}": means.loc[(cohort, t), "n"],
                        f"baseline_mean{tail}": means.loc[(cohort, 0.0), "estimate"],
                        f"baseline_se{tail}": means.loc[(cohort, 0.0), "std_error"],
                        f"mean{tail}": means.loc[(cohort, t), "estimate"],
                        f"mean_se{tail}": means.loc[(cohort, t), "std_error"],
                        f"change{tail}": changes.loc[(cohort, t), "estimate"],
                        f"change{tail}_low": changes.loc[(cohort, t), "conf_low"],
                        f"change{tail}_high": changes.loc[(cohort, t), "conf_high"],
                        f"d{tail}": sizes.loc[("d", cohort, t), "estimate"],
                        f"d{tail}_low": sizes.loc[("d", cohort, t), "conf_low"],
                        f"d{tail}_high": sizes.loc[("d", cohort, t), "conf_high"],
                    }
                    assert row[list(expected)].to_dict() == pytest.approx(expected)
                gap = sizes.loc[("difference", "during", t)]
                expected = {
                    "d_difference": gap["estimate"],
                    "d_difference_low": gap["conf_low"],
                    "d_difference_high": gap["conf_high"],
                    "p_value": gaps.loc[("change", t), "p_value"],
                    "retained": kept.loc[t, "estimate"],
                    "retained_low": kept.loc[t, "conf_low"],
                    "retained_high": kept.loc[t, "conf_high"],
                    "sd": gap["sd"],
                }
                assert row[list(expected)].to_dict() == pytest.approx(expected)
                assert (row["retained_set"], row["sd_source"], row["error"]) == ("bounded", "baseline", "")

    def test_improvement_is_positive_whichever_way_is_better(self, two: Any) -> None:
        table = two.tidy()
        assert (table[["change", "change_reference", "d", "d_reference"]] > 0).all(axis=None)
        assert (table["d_difference"] < 0).all()

    def test_one_row_an_outcome_time_and_cohort_beside_the_reference(self, two: Any, three: Any) -> None:
        assert len(two.tidy()) == 2 * 2
        assert len(three.tidy()) == 2 * 2 * 2
        assert set(three.tidy()["cohort"]) == {"during", "after"}
        assert set(three.tidy()["reference"]) == {"before"}

    def test_level_widens_the_intervals_only(self, two: Any) -> None:
        wide, usual = two.tidy(level=0.99), two.tidy()
        assert (wide["d_difference_low"] < usual["d_difference_low"]).all()
        assert (wide["retained_high"] > usual["retained_high"]).all()
        assert (wide["p_value"] == usual["p_value"]).all()

    @pytest.mark.parametrize("option", [{"df": "kenward-roger"}, {"df": "normal"}, {"sd": "reference"}, {"sd": 0.7}])
    @pytest.mark.parametrize("model", ["mmrm", "growth"])
    def test_options_reach_the_answers(self, frame: pd.DataFrame, model: str, option: dict[str, Any]) -> None:
        study = compare(frame, outcomes={"score": "lower"}, at=18, model=model, **option)
        fit = alone(frame, model, outcome="score", better="lower")
        gap = fit.effect_sizes(at=18, **option).tidy().query("quantity == 'difference'")
        assert study.tidy()["d_difference_low"].item() == pytest.approx(gap["conf_low"].item())

    @pytest.mark.parametrize(("model", "kind"), [("mmrm", ist.MMRMResult), ("growth", ist.GrowthResult)])
    def test_the_fits_are_results_to_ask_more_of(self, frame: pd.DataFrame, model: str, kind: type) -> None:
        study = compare(frame, model=model)
        assert list(study.fits) == ["score", "skill"]
        assert all(isinstance(fit, kind) for fit in study.fits.values())
        assert study.fits["skill"].better == "higher"

    def test_samples(self, two: Any, frame: pd.DataFrame) -> None:
        holes = frame.assign(skill=frame["skill"].where(~((frame["month"] == 18) & (frame["patient"] < 4))))
        table = compare(holes).sample_table().set_index(["outcome", "cohort", "time"])["n"]
        assert table["skill", "before", 18] == 22
        assert table["score", "before", 18] == 25
        assert two.sample_table()["n"].sum() == 400

    def test_one_time_as_a_number(self, frame: pd.DataFrame) -> None:
        assert compare(frame, at=18).at == [18]

    def test_the_order_of_rows_does_not_matter(self, two: Any, frame: pd.DataFrame) -> None:
        shuffled = compare(frame.sample(frac=1, random_state=4))
        pd.testing.assert_frame_equal(shuffled.tidy(), two.tidy(), rtol=1e-5)


OWN = "every cohort has a covariance of its own, as each has 20 patients or more"


def lacking(frame: pd.DataFrame, cohort: str | None, one: float, other: float) -> pd.DataFrame:
    """Return the frame with no patient (of a cohort) seen at both of two months."""
    missed = np.where(frame["patient"] % 2, one, other)
    gone = frame["month"].eq(missed) & (True if cohort is None else frame["cohort"].eq(cohort))
    return frame[~gone]


def copied(frame: pd.DataFrame, cohort: str | None) -> pd.DataFrame:
    """Return the frame with scores at month 18 (of a cohort) half a point below those at 12: both vary as one."""
    before = frame[frame["month"] == 12].set_index("patient")["score"]
    last = frame["month"].eq(18) & (True if cohort is None else frame["cohort"].eq(cohort))
    return frame.assign(score=frame["score"].where(~last, frame["patient"].map(before) - 0.5))


class TestChoice:
    @staticmethod
    def chosen(frame: pd.DataFrame, **options: Any) -> tuple[Any, str]:
        """Return the model of `score`, and what the study says of it."""
        study = compare(frame, **({"outcomes": {"score": "lower"}} | options))
        (said,) = study.models()
        assert said in study.header()
        why = said.removeprefix("score: ").partition(", because ")[2]
        assert f"This model was chosen because {why}." in study.methods()
        fit = study.fits["score"]
        kind = "mmrm" if isinstance(fit, ist.MMRMResult) else "growth"
        assert study.tidy()["model"].tolist() == [kind] * len(study.tidy())
        return fit, said.removeprefix("score: ")

    @pytest.mark.parametrize(
        ("times", "at", "many"), [((0, 18), 18, "two"), ((0, 9, 18), 18, "three"), ((0, 6, 12, 18), 18, "four")]
    )
    @pytest.mark.parametrize("shape", ["auto", "visits"])
    def test_up_to_four_fixed_visits_are_an_mmrm(self, times: Any, at: Any, many: str, shape: str) -> None:
        fit, said = self.chosen(made(times=times), at=at, shape=shape)
        assert said == f"MMRM, because there are {many} fixed visits; {OWN}"
        assert fit.formula == "score ~ factor(month) * cohort + us(month | cohort/patient)"

    def test_a_baseline_column_is_not_counted(self) -> None:
        frame = made(times=(0, 3, 6, 12, 18))
        start = frame[frame["month"] == 0].set_index("patient")["score"]
        later = frame.assign(pre=frame["patient"].map(start)).query("month > 0")
        fit, said = self.chosen(later, baseline="pre", at=18)
        assert said == f"MMRM, because there are four fixed visits beside the baseline column; {OWN}"
        assert fit.times == [0, 3, 6, 12, 18]
        one = later[later["month"] == 18]
        assert self.chosen(one, baseline="pre", at=18)[1].startswith(
            "MMRM, because there is one fixed visit beside the baseline column; "
        )

    def test_five_visits_are_a_line(self) -> None:
        fit, said = self.chosen(made(times=(0, 3, 6, 12, 18)))
        why = "there are 5 distinct times; an MMRM is for four at most"
        assert said == f"growth model (linear time), because {why}"
        assert fit.formula == "score ~ month * cohort + (1 + month | patient)"

    def test_five_visits_are_an_mmrm_on_request(self) -> None:
        frame = made(times=(0, 3, 6, 12, 18))
        fit, said = self.chosen(frame, model="mmrm")
        assert said == f"MMRM, because it was asked for; {OWN}"
        assert fit.loglik == pytest.approx(alone(frame, "mmrm", outcome="score").loglik, rel=1e-12)

    def test_groups_are_never_dropped(self, frame: pd.DataFrame) -> None:
        sited = frame.assign(site=frame["patient"] % 5, ward=frame["patient"] % 7)
        sited["score"] += 0.5 * (sited["site"] - 2) + 0.3 * (sited["ward"] - 3)
        fit, said = self.chosen(sited, groups=["site", "ward"])
        assert said == (
            "growth model (visits as categories), because random effects of site and ward were asked for, "
            "which an MMRM has not"
        )
        assert {"site", "ward"} <= {term.group for term in fit.design.terms}

    @pytest.mark.parametrize("shape", ["linear", "quadratic", "log", ist.Piecewise([6])])
    def test_a_course_is_a_growth_model(self, frame: pd.DataFrame, shape: Any) -> None:
        fit, said = self.chosen(frame, shape=shape)
        assert said == f"growth model ({fit.design.shape.word} time), because a course over time was asked for"

    def test_dates_are_no_fixed_visits(self) -> None:
        frame = made(times=(0, 18))
        days = pd.Timestamp("2008-01-07") + pd.to_timedelta(frame["month"] * 30.4375, unit="D")
        said = self.chosen(frame.assign(month=days), time_unit="months", at=18)[1]
        why = "times were read from dates, which are no fixed visits"
        assert said == f"growth model (linear time), because {why}"

    def test_a_growth_model_on_request(self, frame: pd.DataFrame) -> None:
        fit, said = self.chosen(frame, model="growth")
        assert said == "growth model (visits as categories), because it was asked for"
        assert fit.formula == "score ~ factor(month) * cohort + (1 + month | patient)"

    @pytest.mark.parametrize(("each", "own"), [(19, False), (20, True)])
    def test_a_covariance_per_cohort_takes_20_patients_in_each(self, each: int, own: bool) -> None:
        frame = made(each=20)
        dropped = frame[(frame["cohort"] == "before") | (frame["patient"] <= 20 + each)]
        fit, said = self.chosen(dropped)
        assert fit.by_cohort == own
        assert said.endswith(OWN if own else "one covariance for all cohorts, as during has 19 patients, fewer than 20")

    def test_a_cohort_whose_visits_do_not_meet_shares_its_covariance(self, frame: pd.DataFrame) -> None:
        fit, said = self.chosen(lacking(frame, "during", 12, 18))
        assert not fit.by_cohort
        why = "as no patient of during was seen at both month 12 and 18"
        assert said == f"MMRM, because there are four fixed visits; one covariance for all cohorts, {why}"
        alike = ist.fit_mmrm(
            lacking(frame, "during", 12, 18), outcome="score", visit="month", patient="patient", cohort="cohort",
            reference="before",
        )  # fmt: skip
        assert fit.loglik == pytest.approx(alike.loglik, rel=1e-12)

    def test_a_cohort_without_a_visit_shares_its_covariance(self, frame: pd.DataFrame) -> None:
        fit, said = self.chosen(frame[(frame["cohort"] == "before") | (frame["month"] < 18)], at=12)
        assert not fit.by_cohort
        assert said.endswith("one covariance for all cohorts, as no patient of during was seen at month 18")

    def test_a_covariance_per_cohort_that_does_not_converge_is_shared(self, frame: pd.DataFrame) -> None:
        fit, said = self.chosen(copied(frame, "during"))
        assert not fit.by_cohort
        assert said.endswith("; one covariance for all cohorts, as one for each did not converge")

    def test_visits_that_never_meet_are_a_growth_model(self, frame: pd.DataFrame) -> None:
        fit, said = self.chosen(lacking(frame, None, 12, 18))
        why = "the covariance of an MMRM cannot be estimated: no patient was seen at both month 12 and 18"
        assert said == f"growth model (visits as categories), because {why}"
        assert fit.formula.startswith("score ~ factor(month) * cohort + (")

    def test_too_few_rows_are_a_growth_model(self) -> None:
        frame = made(each=2, times=(0, 18))
        # Two patients of four came again: 6 rows leave 2 for the 3 (co)variances of two visits.
        said = self.chosen(frame[(frame["month"] == 0) | frame["patient"].isin([1, 3])], at=18)[1]
        assert said == "growth model (visits as categories), because an MMRM could not be estimated"

    def test_an_mmrm_that_does_not_converge_is_a_growth_model(self, frame: pd.DataFrame) -> None:
        study = compare(copied(frame, None))
        assert study.models() == [
            "score: growth model (visits as categories), because an MMRM did not converge",
            f"skill: MMRM, because there are four fixed visits; {OWN}",
        ]
        expected = (
            alone(copied(frame, None), "growth", outcome="score", better="lower").effect_sizes(at=[12, 18]).tidy()
        )
        d = expected.loc[expected["quantity"] == "difference", "estimate"].tolist()
        assert study.tidy().query("outcome == 'score'")["d_difference"].tolist() == pytest.approx(d)
        assert study.tidy()["model"].tolist() == ["growth"] * 2 + ["mmrm"] * 2
        methods = study.methods()
        assert "score was analysed with a linear mixed model, visits as categories" in methods
        assert (
            "This model was chosen because an MMRM did not converge. skill was analysed with a mixed model" in methods
        )

    def test_an_mmrm_that_was_asked_for_is_never_replaced(self, frame: pd.DataFrame) -> None:
        simpler = "say model='growth', or ask fit_mmrm with a simpler covariance="
        for data, why in (
            (copied(frame, None), f"the fit did not converge; {simpler}"),
            (
                lacking(frame, None, 12, 18),
                f"its covariance cannot be estimated, as no patient was seen at both month 12 and 18; {simpler}",
            ),
        ):
            with pytest.raises(DataError) as caught:
                compare(data, outcomes={"score": "lower"}, model="mmrm")
            assert str(caught.value) == f"model='mmrm': {why}"
        study = compare(copied(frame, None), model="mmrm")
        assert list(study.errors) == ["score"]
        assert study.tidy().query("outcome == 'skill'")["model"].tolist() == ["mmrm"] * 2

    def test_labels_stand_in_what_is_said_of_the_models(self, frame: pd.DataFrame) -> None:
        study = compare(lacking(frame, "during", 12, 18))
        labels = {"score": "Complaints (0-4)", "skill": "functioning", "during": "2009 to 2012", "month": "Month"}
        why = "one covariance for all cohorts, as no patient of 2009 to 2012 was seen at both Month 12 and 18"
        assert study.models(labels) == [f"Complaints and functioning: MMRM, because there are four fixed visits; {why}"]
        assert why in study.methods(labels)

    def test_names_with_braces_are_names(self, frame: pd.DataFrame) -> None:
        braced = lacking(frame, "during", 12, 18).assign(cohort=lambda f: f["cohort"].replace("during", "{0} {x}"))
        assert "no patient of {0} {x} was seen" in " ".join(compare(braced).models())

    def test_both_faults_of_an_mmrm_with_more_are_told(self, frame: pd.DataFrame) -> None:
        with pytest.raises(DataError) as caught:
            compare(frame.assign(site=1), model="mmrm", groups="site", shape="linear")
        assert str(caught.value).split("\n") == [
            "model='mmrm': an MMRM has no random effects, and groups='site' asks for them; "
            "say model='growth', or leave groups= out",
            "model='mmrm': an MMRM has a mean for every visit, and shape='linear' asks for a course; "
            "say model='growth', or leave shape= out",
        ]


class TestCorrection:
    @staticmethod
    def corrected(p: np.ndarray, method: str) -> np.ndarray:
        """Return corrected p-values, by the definitions."""
        m, order = len(p), np.argsort(p)
        out = np.empty(m)
        if method == "none":
            return p
        if method == "bonferroni":
            return np.minimum(p * m, 1)
        if method == "holm":
            out[order] = np.minimum(np.maximum.accumulate(p[order] * (m - np.arange(m))), 1)
        else:
            ranked = p[order] * m / np.arange(1, m + 1)
            out[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1)
        return out

    @pytest.mark.parametrize("method", ["holm", "bonferroni", "fdr_bh", "none"])
    def test_it_runs_over_all_outcomes_times_and_cohorts(self, method: str) -> None:
        table = compare(made(("before", "during", "after")), correction=method).tidy()
        assert len(table) == 8
        np.testing.assert_allclose(table["p_corrected"], self.corrected(table["p_value"].to_numpy(), method))

    def test_one_outcome_at_one_time_needs_none(self, frame: pd.DataFrame) -> None:
        table = compare(frame, outcomes={"score": "lower"}, at=18).tidy()
        assert table["p_corrected"].item() == table["p_value"].item()

    def test_a_failed_outcome_is_not_counted(self, frame: pd.DataFrame, two: Any) -> None:
        outcomes = {"score": "lower", "flat": "lower", "skill": "higher"}
        table = compare(frame.assign(flat=1.0), outcomes=outcomes).tidy()
        assert table["p_corrected"].dropna().tolist() == pytest.approx(two.tidy()["p_corrected"].tolist())


class TestFailure:
    @pytest.fixture(scope="class")
    @classmethod
    def partly(cls) -> Any:
        outcomes = {"flat": "lower", "score": "lower"}
        return compare(made().assign(flat=1.0), outcomes=outcomes)

    def test_one_is_reported_and_the_others_stand(self, partly: Any, two: Any) -> None:
        assert list(partly.fits) == ["score"]
        assert partly.errors == {"flat": "outcome='flat': constant at 1; there is nothing to explain"}
        table = partly.tidy()
        assert table["outcome"].tolist() == ["flat", "score", "score"]
        assert table["error"].tolist() == [partly.errors["flat"], "", ""]
        columns = ["d", "d_reference", "d_difference", "retained", "p_value"]
        expected = two.tidy().query("outcome == 'score'")[columns].to_numpy()
        np.testing.assert_allclose(table.loc[table["outcome"] == "score", columns], expected)
        assert table.loc[0, columns].isna().all()

    def test_it_is_said(self, partly: Any) -> None:
        assert partly.in_words()[-1] == f"flat could not be analysed: {partly.errors['flat']}"
        assert f"flat: {partly.errors['flat']}" in partly.header()
        assert not partly.glance()["converged"].item()

    def test_what_stands_can_be_printed_saved_and_summed_up(self, partly: Any) -> None:
        repr(partly), partly.to_markdown(), partly.methods(), partly.cannot_say(), partly.sample_table()
        json.dumps(partly.to_dict(), allow_nan=False)
        assert partly.overall(draws=20, rng=1).outcomes == ("score",)

    def test_all_of_them_raise_each_reason_once(self, frame: pd.DataFrame) -> None:
        bad = frame.assign(flat=1.0, empty=np.nan)
        with pytest.raises(DataError) as caught:
            compare(bad, outcomes={"flat": "lower", "empty": "higher"})
        assert str(caught.value).split("\n") == [
            "outcome='flat': constant at 1; there is nothing to explain",
            "outcome='empty': every value is missing; look at the file or name another column",
        ]

    def test_a_fault_of_the_frame_is_raised_once_for_all_outcomes(self, frame: pd.DataFrame) -> None:
        with pytest.raises(DataError) as caught:
            compare(pd.concat([frame, frame.head(1)], ignore_index=True))
        assert str(caught.value).count("two rows at month=0") == 1

    @pytest.mark.parametrize("first", [True, False])
    def test_an_outcome_that_one_cohort_lacks_is_reported_wherever_it_stands(self, first: bool) -> None:
        frame = made(("before", "during", "after"))
        lacking = frame.assign(skill=frame["skill"].where(frame["cohort"] != "after"))
        names = ["skill", "score"] if first else ["score", "skill"]
        study = compare(lacking, outcomes={n: "higher" if n == "skill" else "lower" for n in names})
        assert list(study.errors) == ["skill"]
        assert "after" in study.errors["skill"]
        assert study.cohorts == ("before", "after", "during")
        assert len(study.tidy().query("outcome == 'score'")) == 4
        study.overall(draws=20, rng=1)


class TestMargin:
    def test_three_words_follow_the_interval(self, frame: pd.DataFrame) -> None:
        row = compare(frame, outcomes={"score": "lower"}, at=18).tidy().iloc[0]
        low, high = row["d_difference_low"], row["d_difference_high"]
        assert low < high < 0
        for margin, word in [
            (-high / 2, "worse by more than the margin"),
            (-(low + high) / 2, "cannot tell"),
            (-low * 1.1, "not worse by more than the margin"),
        ]:
            study = compare(frame, outcomes={"score": "lower"}, at=18, margin=margin)
            assert study.tidy()["against_margin"].item() == word
            assert f"At month 18, against a margin of {margin:g} SD: score: {word}." in study.in_words()

    def test_more_improvement_is_not_worse(self, frame: pd.DataFrame) -> None:
        study = compare(frame, outcomes={"score": "lower"}, at=18, reference="during", margin=0.1)
        assert study.tidy()["against_margin"].item() == "not worse by more than the margin"

    def test_without_a_margin_the_interval_stands_alone(self, two: Any) -> None:
        assert "against_margin" not in two.tidy().columns
        assert "margin" not in prose(two)

    def test_the_margin_is_kept(self, frame: pd.DataFrame) -> None:
        assert compare(frame, margin=0.3).margin == 0.3


class TestOverall:
    @pytest.fixture(scope="class")
    @classmethod
    def overall(cls) -> Any:
        return compare(made()).overall(draws=30, rng=7)

    def test_the_estimate_is_the_mean_d_over_the_outcomes_and_its_ratio(self, overall: Any, two: Any) -> None:
        table = overall.tidy().set_index(["quantity", "cohort", "time"])["estimate"]
        parts = two.tidy().groupby("time")[["d", "d_reference"]].mean()
        for t in (12.0, 18.0):
            assert table["d", "during", t] == pytest.approx(parts.loc[t, "d"])
            assert table["d", "before", t] == pytest.approx(parts.loc[t, "d_reference"])
            assert table["retained", "during", t] == pytest.approx(parts.loc[t, "d"] / parts.loc[t, "d_reference"])
        assert len(table) == 4 + 2

    def test_the_same_number_gives_the_same_draws(self, overall: Any, two: Any) -> None:
        again = two.overall(draws=30, rng=7)
        pd.testing.assert_frame_equal(again.tidy(), overall.tidy(), check_exact=True)
        generator = two.overall(draws=30, rng=np.random.default_rng(7))
        pd.testing.assert_frame_equal(generator.tidy(), overall.tidy(), check_exact=True)
        assert not two.overall(draws=30, rng=8).tidy().equals(overall.tidy())

    def test_intervals_hold_the_estimate_and_widen_with_the_level(self, overall: Any) -> None:
        usual, wide = overall.tidy(), overall.tidy(level=0.99)
        assert ((usual["conf_low"] < usual["estimate"]) & (usual["estimate"] < usual["conf_high"])).all()
        assert (wide["conf_low"] <= usual["conf_low"]).all()
        assert (wide["conf_high"] >= usual["conf_high"]).all()

    def test_a_patient_is_drawn_with_all_outcomes(self, frame: pd.DataFrame) -> None:
        # The second outcome is the first upside down, so in the same patients its d is the same.
        mirrored = frame.assign(skill=20 - 2 * frame["score"])
        both = compare(mirrored, at=18).overall(draws=25, rng=3)
        one = compare(mirrored, outcomes={"score": "lower"}, at=18).overall(draws=25, rng=3)
        np.testing.assert_allclose(both.draws, one.draws, rtol=1e-4)

    def test_patients_stay_in_their_cohort_and_spread_as_the_standard_error_says(self, two: Any) -> None:
        draws = two.overall(at=18, draws=80, rng=5).draws
        sizes = {name: fit.effect_sizes(at=18).tidy().query("quantity == 'd'") for name, fit in two.fits.items()}
        largest = max(table["std_error"].max() for table in sizes.values())
        assert (draws[:, :2].std(axis=0) < 1.3 * largest).all()
        assert (draws[:, :2].std(axis=0) > 0.4 * largest).all()
        assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.5

    def test_other_times_than_those_of_the_study(self, two: Any) -> None:
        assert set(two.overall(at=6, draws=20, rng=1).tidy()["time"]) == {6}

    def test_three_cohorts_have_two_ratios(self, three: Any) -> None:
        table = three.overall(at=18, draws=20, rng=1).tidy()
        assert table["quantity"].tolist() == ["d"] * 3 + ["retained"] * 2

    def test_it_says_how_many_draws_and_of_what(self, overall: Any) -> None:
        header = " ".join(overall.header())
        assert "score, skill" in header
        assert "95% percentile intervals from 30 draws of patients" in header

    def test_a_reference_that_did_not_improve_leaves_no_share(self, frame: pd.DataFrame) -> None:
        study = compare(frame, outcomes={"score": "higher"}, at=18)
        overall = study.overall(draws=30, rng=1)
        assert "the reference did not improve" in " ".join(overall.header())
        share = overall.tidy().query("quantity == 'retained'")
        assert share[["estimate", "conf_low", "conf_high"]].isna().all(axis=None)

    def test_clusters_are_refitted_too(self, frame: pd.DataFrame) -> None:
        site = frame["patient"] % 5
        shifted = frame["score"] + site.map(dict(enumerate([-1.0, 1.0, 0.5, -0.5, 0.0])))
        study = compare(frame.assign(site=site, score=shifted), outcomes={"score": "lower"}, at=18, groups="site")
        overall = study.overall(draws=20, rng=1)
        assert overall.failed == 0
        assert overall.draws.shape == (20, 3)

    def test_it_goes_through_json_and_pickle(self, overall: Any) -> None:
        record = json.loads(json.dumps(overall.to_dict(), allow_nan=False))
        pd.testing.assert_frame_equal(read_tables(record)["tidy"], overall.tidy(), check_exact=True)
        pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(overall)).tidy(), overall.tidy(), check_exact=True)


class TestWords:
    def test_three_sentences_answer(self, two: Any) -> None:
        first, second, third = two.in_words()[:3]
        assert first.startswith("At month 18, cohort before had improved by ")
        assert re.search(r"; cohort during had improved by \d\.\d\d SD in score and \d\.\d\d SD in skill\.$", first)
        assert second.startswith(
            "The difference (cohort during minus cohort before; below zero is less improvement) is "
        )
        assert second.count("95% interval") == 2
        assert re.fullmatch(
            r"Cohort during kept \d+ % in score \(95% interval \d+ % to \d+ %\) and \d+ % in skill "
            r"\(95% interval \d+ % to \d+ %\) of the improvement of cohort before\.",
            third,
        )

    def test_the_numbers_in_words_are_those_of_the_table(self, two: Any) -> None:
        row = two.tidy().set_index(["outcome", "time"]).loc[("score", 18.0)]
        assert f"improved by {row['d_reference']:.2f} SD in score" in two.in_words()[0]
        interval = f"95% interval {row['d_difference_low']:.2f} to {row['d_difference_high']:.2f}"
        assert f"{row['d_difference']:.2f} SD in score ({interval})" in two.in_words()[1]
        assert f"{100 * row['retained']:.0f} % in score" in two.in_words()[2]

    def test_labels_replace_names(self, two: Any) -> None:
        labels = {"score": "complaints", "skill": "functioning", "before": "2000 to 2008", "month": "month"}
        text = " ".join(two.in_words(labels))
        assert "complaints" in text
        assert 'cohort "2000 to 2008"' in text
        assert "score" not in text

    def test_no_verdict_is_read_off_a_p_value(self, two: Any, three: Any, frame: pd.DataFrame) -> None:
        rng = np.random.default_rng(0)
        noise = frame.assign(score=rng.normal(size=len(frame)), skill=frame["skill"] + rng.normal(size=len(frame)))
        studies = [two, three, compare(frame, margin=0.3), compare(noise), compare(frame, outcomes={"score": "higher"})]
        for study in studies:
            text = prose(study).lower()
            assert [v for v in VERDICTS if v in text] == []
            assert not re.search(r"\bp\s*[<=>]", text)

    def test_a_reference_that_did_not_improve_is_said_so(self, frame: pd.DataFrame) -> None:
        words = " ".join(compare(frame, outcomes={"score": "higher"}, at=18).in_words())
        assert "the reference did not improve" in words
        assert "improved by -" not in words
        assert "kept no share" not in words

    def test_an_unbounded_set_is_said_so(self, frame: pd.DataFrame) -> None:
        rng = np.random.default_rng(0)
        start = frame["patient"].map(dict(zip(range(1, 51), rng.normal(size=50), strict=True)))
        noise = frame.assign(score=start - 0.002 * frame["month"] + rng.normal(scale=0.5, size=len(frame)))
        study = compare(noise, outcomes={"score": "lower"}, at=18)
        row = study.tidy().iloc[0]
        assert row["retained_set"] != "bounded"
        said = " ".join(study.in_words())
        assert "not bounded" in said or "the reference did not improve" in said
        assert "inf" not in said

    def test_what_the_design_cannot_separate(self, two: Any, frame: pd.DataFrame) -> None:
        said = " ".join(two.cannot_say())
        assert "calendar time" in said
        assert "No group went untreated" in said
        assert "one place" in said
        site = frame["patient"] % 5
        shifted = frame["score"] + site.map(dict(enumerate([-1.0, 1.0, 0.5, -0.5, 0.0])))
        clustered = compare(frame.assign(site=site, score=shifted), outcomes={"score": "lower"}, groups="site")
        said = " ".join(clustered.cannot_say())
        assert "one place" not in said
        assert "5 of 5 sites hold several cohorts" in said

    @pytest.mark.parametrize(
        ("option", "phrase"),
        [
            ({}, "with Kenward and Roger's degrees of freedom"),
            ({"df": "satterthwaite"}, "with Satterthwaite's degrees of freedom"),
            ({"correction": "none"}, "were not corrected"),
            ({"correction": "fdr_bh"}, "(Benjamini and Hochberg)"),
            ({"sd": "reference"}, "baseline standard deviation of before"),
            ({"level": 0.9}, "Intervals are 90%"),
            ({"model": "growth"}, "visits as categories by cohort as fixed effects and patients as random effects"),
            ({"shape": "linear"}, "linear time by cohort as fixed effects"),
            ({}, "Each outcome was analysed with a mixed model for repeated measures (MMRM), fitted by restricted"),
            ({}, "a patient who missed visits counts with those that were made"),
        ],
    )
    def test_the_methods_say_what_was_done(self, frame: pd.DataFrame, option: dict[str, Any], phrase: str) -> None:
        assert phrase in compare(frame, **({"outcomes": {"score": "lower"}} | option)).methods()

    def test_a_given_sd_has_no_uncertainty_to_count(self, frame: pd.DataFrame) -> None:
        methods = compare(frame, sd=0.7).methods()
        assert "0.7" in methods
        assert "counts the uncertainty of that standard deviation" not in methods

    def test_the_methods_name_the_clusters(self, frame: pd.DataFrame) -> None:
        site = frame["patient"] % 5
        shifted = frame["score"] + site.map(dict(enumerate([-1.0, 1.0, 0.5, -0.5, 0.0])))
        study = compare(frame.assign(site=site, score=shifted), outcomes={"score": "lower"}, groups="site")
        assert "patients and sites as random effects" in study.methods()

    def test_the_header_says_what_on_whom_and_how_it_ended(self, two: Any) -> None:
        header = two.header()
        assert header[0] == "during against before: improvement since month 0 in score, skill, positive is better"
        assert "patients: before 25, during 25" in header[1]
        assert "holm" in header[1]
        assert header[2].startswith("score and skill: MMRM, because there are four fixed visits; ")
        assert re.match(
            r"score \(lower is better; d in SDs of \d\.\d+ \(baseline\)\): score ~ factor\(month\) \* cohort", header[3]
        )
        assert header[-1].startswith("No group went untreated")


class TestDesigns:
    def test_a_baseline_column_is_named(self, frame: pd.DataFrame) -> None:
        start = frame[frame["month"] == 0].set_index("patient")["score"]
        later = frame.assign(pre=frame["patient"].map(start)).query("month > 0")
        study = compare(later, outcomes={"score": "lower"}, baseline="pre")
        assert "since month 0 (column 'pre')" in study.header()[0]
        assert "Change was counted from month 0 (column pre)" in study.methods()
        expected = compare(frame, outcomes={"score": "lower"}).tidy()
        pd.testing.assert_frame_equal(study.tidy(), expected, rtol=1e-5)

    def test_one_baseline_column_is_not_the_baseline_of_two_outcomes(self, frame: pd.DataFrame) -> None:
        start = frame[frame["month"] == 0].set_index("patient")["score"]
        later = frame.assign(pre=frame["patient"].map(start)).query("month > 0")
        with pytest.raises(DataError, match="baseline='pre': one column cannot be the baseline of 2 outcomes"):
            compare(later, baseline="pre")

    def test_two_visits_have_a_random_intercept(self) -> None:
        study = compare(made(times=(0, 18)), at=18, model="growth")
        assert study.fits["score"].formula == "score ~ factor(month) * cohort + (1 | patient)"

    def test_two_visits_and_a_row_without_a_time_do_too(self) -> None:
        frame = made(times=(0, 18))
        extra = frame.head(1).assign(month=np.nan)
        study = compare(pd.concat([frame, extra], ignore_index=True), at=18, model="growth")
        assert study.fits["score"].formula == "score ~ factor(month) * cohort + (1 | patient)"

    def test_a_baseline_column_and_one_visit_do_too(self) -> None:
        frame = made(times=(0, 18))
        start = frame[frame["month"] == 0].set_index("patient")["score"]
        later = frame.assign(pre=frame["patient"].map(start)).query("month > 0")
        study = compare(later, outcomes={"score": "lower"}, at=18, baseline="pre", model="growth")
        assert study.fits["score"].formula == "score ~ factor(month) * cohort + (1 | patient)"

    def test_three_visits_have_a_random_slope(self) -> None:
        study = compare(made(times=(0, 9, 18)), at=18, model="growth")
        assert study.fits["score"].formula == "score ~ factor(month) * cohort + (1 + month | patient)"

    def test_many_or_irregular_times_lie_on_a_line(self, frame: pd.DataFrame) -> None:
        shifted = frame["month"] + (frame["month"] > 0) * (frame["patient"] % 7) / 10
        study = compare(frame.assign(month=shifted))
        assert study.fits["score"].formula == "score ~ month * cohort + (1 + month | patient)"
        assert "linear time" in study.methods()
        assert study.tidy()["d_difference"].notna().all()
        assert study.sample_table().empty
        assert len(study.overall(at=18, draws=20, rng=1).tidy()) == 3

    def test_a_row_about_a_line_rests_on_the_patients_of_the_cohort(self, frame: pd.DataFrame) -> None:
        shifted = frame["month"] + (frame["month"] > 0) * (frame["patient"] % 7) / 10
        study = compare(frame.assign(month=shifted), at=15)
        assert (study.tidy()[["n", "n_reference"]] == 25).all(axis=None)

    def test_a_time_beyond_what_was_seen_is_marked_for_lines(self) -> None:
        study = compare(made(times=(0, 3, 6, 12, 18)), at=[12, 40])
        assert study.tidy()["extrapolated"].tolist() == [False, True, False, True]
        assert "extrapolated" in " ".join(line for line in study.in_words() if "month 40" in line)

    def test_a_time_that_one_outcome_lacks_is_lost_for_that_outcome_alone(self, frame: pd.DataFrame) -> None:
        gone = (frame["month"] == 18) & (frame["cohort"] == "during")
        study = compare(frame.assign(skill=frame["skill"].mask(gone)))
        assert study.errors == {"skill": "at=18: cohort 'during' has no visit at this time; its last is at 12"}
        assert study.tidy().query("outcome == 'score'")["d"].notna().all()

    def test_one_outcome(self, frame: pd.DataFrame) -> None:
        study = compare(frame, outcomes={"score": "lower"}, at=18)
        assert len(study.tidy()) == 1
        assert " and " not in study.in_words()[0]

    def test_each_cohort_is_answered_for_in_three(self, three: Any) -> None:
        words = three.in_words()
        assert sum(line.startswith("At month 18") for line in words) == 2
        assert sum(line.startswith("The difference (cohort after minus cohort before") for line in words) == 1
        assert sum(line.startswith("The difference (cohort during minus cohort before") for line in words) == 1

    def test_dates(self, frame: pd.DataFrame) -> None:
        days = pd.Timestamp("2008-01-07") + pd.to_timedelta(frame["month"] * 30.4375, unit="D")
        study = compare(frame.assign(month=days), time_unit="months")
        pd.testing.assert_frame_equal(study.tidy(), compare(frame, shape="linear").tidy(), rtol=1e-6)

    @pytest.mark.parametrize("dtype", ["string", "category"])
    def test_types_of_columns(self, frame: pd.DataFrame, two: Any, dtype: str) -> None:
        typed = frame.assign(cohort=frame["cohort"].astype(dtype), patient=frame["patient"].astype(dtype))
        study = compare(typed)
        np.testing.assert_allclose(study.tidy()["d"], two.tidy()["d"], rtol=1e-5)
        assert study.in_words() == two.in_words()
        pd.testing.assert_frame_equal(
            study.overall(at=18, draws=20, rng=1).tidy(), two.overall(at=18, draws=20, rng=1).tidy(), rtol=1e-5
        )

    def test_cohorts_that_are_numbers(self) -> None:
        study = compare(made((0, 1)), reference=0)
        assert study.cohorts == (0, 1)
        assert study.in_words()[0].startswith("At month 18, cohort 0 had improved by")
        json.dumps(study.to_dict(), allow_nan=False)


class TestKeeping:
    def test_json_round_trip(self, two: Any, three: Any) -> None:
        for study in (two, three):
            record = json.loads(json.dumps(study.to_dict(), allow_nan=False))
            tables = read_tables(record)
            pd.testing.assert_frame_equal(tables["tidy"], study.tidy(), check_exact=True)
            pd.testing.assert_frame_equal(tables["glance"], study.glance(), check_exact=True)
            assert record["header"] == study.header()
            assert record["call"]["outcomes"] == {"score": "lower", "skill": "higher"}

    def test_pickled_it_answers_the_same(self, two: Any) -> None:
        again = pickle.loads(pickle.dumps(two))
        pd.testing.assert_frame_equal(again.tidy(), two.tidy())
        assert again.in_words() == two.in_words()
        assert again.methods() == two.methods()

    def test_nothing_reaches_back_to_the_callers_frame(self) -> None:
        frame = made()
        kept = frame.copy(deep=True)
        study = compare(frame)
        pd.testing.assert_frame_equal(frame, kept)
        before = study.overall(at=18, draws=20, rng=1).tidy()
        words = study.in_words()
        frame.loc[:, ["score", "skill"]] = 0.0
        frame.loc[:, "patient"] = 1
        assert study.in_words() == words
        pd.testing.assert_frame_equal(study.overall(at=18, draws=20, rng=1).tidy(), before, check_exact=True)

    def test_the_mapping_of_outcomes_may_change_later(self, frame: pd.DataFrame) -> None:
        outcomes = {"score": "lower"}
        study = compare(frame, outcomes=outcomes, at=18)
        outcomes["skill"] = "higher"
        assert len(study.tidy()) == 1
        assert study.to_dict()["call"]["outcomes"] == {"score": "lower"}

    def test_glance(self, two: Any) -> None:
        row = two.glance().iloc[0]
        assert (row["n"], row["patients"], row["rows"]) == (2, 50, 400)
        assert row["converged"]


# Beside cohorts: weights, scores, a change of circumstances


@pytest.fixture(scope="module")
def richer(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a weight, a score and a time of change for every patient."""
    who, source = frame["patient"].unique(), np.random.default_rng(2)
    parts = {"weight": source.uniform(0.5, 2, len(who)), "support": source.integers(1, 8, len(who))}
    more = frame.assign(**{k: frame["patient"].map(dict(zip(who, v, strict=True))) for k, v in parts.items()})
    change = frame["patient"].map(dict(zip(who, source.integers(1, 17, len(who)), strict=True)))
    return more.assign(changed=change.where(frame["cohort"] == "before", 0))


def test_weighted_patients_are_those_of_the_models(richer: pd.DataFrame) -> None:
    study = compare(richer, patient_weights="weight", df="normal", model="growth", shape="linear")
    for name, better in study.outcomes.items():
        fit = ist.fit_growth(
            richer, outcome=name, better=better, shape="linear", patient_weights="weight", method="ml", **ROLES
        )
        gap = fit.effect_sizes([12, 18]).tidy().query("quantity == 'difference'")
        mine = study.tidy().query("outcome == @name")
        np.testing.assert_allclose(mine["d_difference"], gap["estimate"], rtol=1e-12)
        np.testing.assert_allclose(mine["d_difference_low"], gap["conf_low"], rtol=1e-12)
    assert "fitted by maximum likelihood with patients weighted by weight, its standard errors" in study.methods()
    with pytest.raises(DataError, match="overall: not defined with patient_weights=; fit without them"):
        study.overall(draws=20, rng=1)


def test_auto_takes_a_growth_model_for_scores_and_interruptions(richer: pd.DataFrame) -> None:
    study = compare(richer, moderators=["support"])
    assert {choice.model for choice in study.choices.values()} == {"growth"}
    assert study.models() == [
        "score and skill: growth model (visits as categories), because change was asked to depend on support, which it "
        "cannot in an MMRM"
    ]
    own = ist.fit_growth(richer, outcome="score", better="lower", moderators="support", **ROLES)
    pd.testing.assert_frame_equal(study.fits["score"].moderation().tidy(), own.moderation().tidy())
    study = compare(richer, interruption="changed")
    assert "because an interruption by changed was asked for, which an MMRM has not" in study.models()[0]
    assert "; from changed on, a patient has a level and a slope of its own, which effects leave out" in study.methods()
    own = ist.fit_growth(richer, outcome="score", better="lower", interruption="changed", **ROLES)
    pd.testing.assert_frame_equal(study.fits["score"].interruption().tidy(), own.interruption().tidy())


def test_what_weights_and_an_mmrm_do_not_go_with(richer: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        compare(richer, patient_weights="weight", groups="site", model="mmrm", moderators="support")
    assert str(caught.value).split("\n") == [
        "groups='site': not with patient_weights=; leave one of the two out",
        "df='kenward-roger': not defined with patient_weights=, whose standard errors come from the spread between "
        "patients; say df='normal'",
        "model='mmrm': an MMRM has no random effects, and groups='site' asks for them; say model='growth', or leave "
        "groups= out",
        "model='mmrm': an MMRM has no scores that change depends on, and moderators='support' asks for them; say "
        "model='growth', or leave moderators= out",
    ]
