"""What a plan's models have beside cohorts: scores, a change of circumstances and weights, as the Python call has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats import __main__ as command
from implstats.batch import check_plan, read_plan, run_plan
from implstats.errors import PlanError

ROLES: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
PLAN = """
figures = "none"
[data]
file = "visits.csv"
[roles]
patient = "patient"
time = "month"
cohort = "cohort"
reference = "before"
[outcomes]
bsi = "lower"
[analysis]
at = [18, 36]
"""
Write = Callable[..., Path]


@pytest.fixture
def data(visits: pd.DataFrame) -> pd.DataFrame:
    """Return visits with a weight, a score and a time of change for every patient."""
    who, source = visits["patient"].unique(), np.random.default_rng(11)

    def one_each(values: Any) -> pd.Series[Any]:
        return visits["patient"].map(dict(zip(who, values, strict=True)))

    change = one_each(source.integers(3, 30, len(who))).where(visits["cohort"] == "before", 0)
    return visits.assign(
        weight=one_each(source.uniform(0.5, 2, len(who)).round(3)),
        adherence=one_each(source.integers(1, 8, len(who))),
        changed=change,
    )


@pytest.fixture
def write(data: pd.DataFrame, tmp_path: Path) -> Write:
    def write(*lines: str, frame: pd.DataFrame = data, text: str = PLAN) -> Path:
        frame.to_csv(tmp_path / "visits.csv", index=False)
        (tmp_path / "plan.toml").write_text(text + "\n".join(lines), encoding="utf-8")
        return tmp_path / "plan.toml"

    return write


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", float_precision="round_trip", keep_default_na=False, na_values=[""])


def same(mine: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Compare every number and word of a table that was written with that of Python."""
    assert list(mine) == list(theirs)
    for column in theirs:
        if pd.api.types.is_float_dtype(theirs[column].dtype):
            np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-14)
        else:
            assert mine[column].fillna("").tolist() == theirs[column].fillna("").tolist()


def compared(data: pd.DataFrame, **options: Any) -> Any:
    return ist.compare_cohorts(data, outcomes={"bsi": "lower"}, at=[18, 36], **ROLES, **options)


def test_scores(write: Write, data: pd.DataFrame, tmp_path: Path) -> None:
    out = run_plan(write('moderators = ["adherence", "sex"]', 'df = "satterthwaite"'), out=tmp_path / "out")
    study = compared(data, moderators=["adherence", "sex"], df="satterthwaite")
    same(table(out, "comparison"), study.tidy())
    found = study.fits["bsi"].moderation([18, 36], df="satterthwaite").tidy()
    same(table(out, "bsi_moderation"), found)
    report = (out / "report.md").read_text(encoding="utf-8")
    assert (
        "How the change since the start depends on scores, in points of bsi, with 95% intervals. Those who differ"
        in report
    )
    per_point = found.query("moderator == 'adherence' and quantity == 'per point' and time == 36").iloc[0]
    assert f"{per_point['estimate']:.4f}" in report
    assert "because change was asked to depend on adherence and sex, which it cannot in an MMRM" in report
    assert "; change depends on adherence and sex, and effects are those at the mean." in report
    assert report.count("- These improvements are at the mean of adherence and sex.") == 1
    assert "moderation()" not in report


def test_a_change_of_circumstances(write: Write, data: pd.DataFrame, tmp_path: Path) -> None:
    out = run_plan(write('interruption = "changed"', 'shape = "linear"'), out=tmp_path / "out")
    study = compared(data, interruption="changed", shape="linear")
    same(table(out, "comparison"), study.tidy())
    same(table(out, "bsi_interruption"), study.fits["bsi"].interruption(df="kenward-roger").tidy())
    report = (out / "report.md").read_text(encoding="utf-8")
    assert (
        "What began with the change of circumstances, within patients, in points of bsi, with 95% intervals. What else"
        in report
    )
    assert "| change of course since, per unit of time (slope) | " in report
    said = (
        "These improvements are without what began at changed (a step, and another course since), which is told apart."
    )
    assert report.count(f"- {said}") == 1
    assert "interruption()" not in report
    assert "take in visits after the change of circumstances; the other numbers leave out what began with it" in report


def test_a_change_of_circumstances_by_date(write: Write, data: pd.DataFrame, tmp_path: Path) -> None:
    start = pd.Timestamp("2010-01-01")
    dated = data.assign(
        month=start + pd.to_timedelta(data["month"] * 30.4375, unit="D").dt.round("D"),
        changed=start + pd.to_timedelta(data["changed"] * 30.4375, unit="D").dt.round("D"),
    )
    text = PLAN.replace('reference = "before"', 'reference = "before"\ntime_unit = "months"')
    plan = write('interruption = "changed"', frame=dated, text=text)
    out = run_plan(plan, out=tmp_path / "out")
    study = compared(dated, interruption="changed", time_unit="months")
    same(table(out, "bsi_interruption"), study.fits["bsi"].interruption(df="kenward-roger").tidy())
    broken = dated.assign(changed=dated["changed"].astype(str).where(dated.index != 5, "spring"))
    with pytest.raises(PlanError) as caught:
        check_plan(read_plan(write('interruption = "changed"', frame=broken, text=text)))
    assert str(caught.value).startswith("interruption='changed': the column holds text such as 'spring' (line 7)")


def test_weights_of_patients(write: Write, data: pd.DataFrame, tmp_path: Path) -> None:
    out = run_plan(write('patient_weights = "weight"'), out=tmp_path / "out")
    study = compared(data, patient_weights="weight", df="normal")
    same(table(out, "comparison"), study.tidy())
    by_hand = ist.fit_mmrm(
        data,
        outcome="bsi",
        visit="month",
        better="lower",
        by_cohort=True,
        patient_weights="weight",
        method="ml",
        **{k: v for k, v in ROLES.items() if k != "time"},
    )
    gap = by_hand.effect_sizes([18, 36], df="normal").tidy().query("quantity == 'difference'")
    np.testing.assert_allclose(table(out, "comparison")["d_difference"], gap["estimate"], rtol=1e-12)
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "fitted by maximum likelihood with patients weighted by weight" in report
    assert (
        "No number was compared with what is expected: residuals of weighted patients have no known spread." in report
    )
    assert not (out / "readings.csv").exists()
    assert (out / "natural_change.csv").exists()


def test_weights_leave_no_mean_over_outcomes(write: Write, tmp_path: Path) -> None:
    text = PLAN.replace('bsi = "lower"', 'bsi = "lower"\nsipp = "higher"')
    out = run_plan(write('patient_weights = "weight"', text=text), out=tmp_path / "out")
    assert not (out / "overall.csv").exists()
    said = "There is no mean over outcomes: overall: not defined with patient_weights=; fit without them"
    assert said in (out / "report.md").read_text(encoding="utf-8")


FAULTS = [
    (
        ('patient_weights = "weight"', 'df = "kenward-roger"', 'groups = ["therapist"]'),
        [
            "groups=['therapist']: not with patient_weights=; leave one of the two out",
            "df='kenward-roger': not defined with patient_weights=, whose standard errors come from the spread between "
            "patients; say df='normal'",
        ],
    ),
    (
        ('model = "mmrm"', 'moderators = ["age"]', 'interruption = "changed"'),
        [
            "model='mmrm': an MMRM has no course that could be interrupted, and interruption='changed' asks for it; "
            "say model='growth', or leave interruption= out",
            "model='mmrm': an MMRM has no scores that change depends on, and moderators=['age'] asks for them; say "
            "model='growth', or leave moderators= out",
        ],
    ),
    (
        ('moderators = ["adherance"]', 'interruption = "change"', 'patient_weights = "weigth"'),
        [
            "moderators='adherance': no such column; did you mean 'adherence'?",
            "interruption='change': no such column; did you mean 'changed'?",
            "patient_weights='weigth': no such column; did you mean 'weight'?",
        ],
    ),
    (('patient_weights = "sipp"',), ["patient_weights='sipp': "]),
    (('moderators = ["sipp"]',), ["moderators='sipp': changes within a patient"]),
    (('interruption = "sipp"',), ["interruption='sipp': changes within a patient"]),
    (('moderators = ["bsi"]',), ["moderators='bsi': is named as outcome= too"]),
]


@pytest.mark.parametrize(("lines", "said"), FAULTS)
def test_what_does_not_go_together(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...], said: list[str]
) -> None:
    assert command.main(["run", str(write(*lines)), "--out", str(tmp_path / "out")]) == 2
    heard = capsys.readouterr().err
    assert all(line in heard for line in said), heard
    assert not (tmp_path / "out").exists()


def test_kinds_of_the_keys(write: Write) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(write('moderators = "age"', "interruption = 3", 'patient_weights = ["weight"]'))
    assert str(caught.value).split("\n") == [
        "[analysis] moderators='age': not a list of columns; write moderators = [\"...\"]",
        '[analysis] interruption=3: not text; write interruption = "..."',
        "[analysis] patient_weights=['weight']: not text; write patient_weights = \"...\"",
    ]
