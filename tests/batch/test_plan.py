"""A bad plan is refused before anything is fitted, with every fault in one message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from implstats.batch import Plan, check_plan, read_plan
from implstats.errors import PlanError
from implstats.examples import example_files

PLAN = """\
title = "A study"

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
at = [18]
"""
ROWS = ["patient,cohort,month,bsi,sipp,age,centre"]
ROWS += [
    f"{p},{'before' if p % 2 else 'during'},{t},{2 + p % 5 / 10 - t / 100 + (p * t) % 7 / 20:.2f},3,{30 + p},A"
    for p in range(1, 13)
    for t in (0, 18, 36)
]


def write(folder: Path, text: str = PLAN, rows: list[str] | None = None) -> Path:
    (folder / "visits.csv").write_text("\n".join(rows or ROWS) + "\n", encoding="utf-8")
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def told(path: Path) -> str:
    with pytest.raises(PlanError) as caught:
        check_plan(read_plan(path))
    return str(caught.value).replace(str(path), "PLAN")


# What is replaced in the plan, by what, and the whole message.
BAD = [
    ('cohort = "cohort"', 'cohrt = "cohort"', "[roles] cohrt: unknown key; did you mean 'cohort'?\n"
     "[roles] cohort: missing; name the column with the cohort"),
    ('title = "A study"', 'titel = "A study"', "titel: unknown key; did you mean 'title'?"),
    ('title = "A study"', 'seed = 3', "seed: unknown key; it belongs under [analysis]"),
    ('title = "A study"', 'title = 3', "title=3: not text; write title = \"...\""),
    ('file = "visits.csv"', 'file = "visits.csv"\nnote = "made up"',
     "[data] note: unknown key; it belongs above the first section"),
    ('file = "visits.csv"', 'file = "visits.csv"\nat = [18]', "[data] at: unknown key; it belongs under [analysis]"),
    ('file = "visits.csv"', 'file = "visit.csv"', "[data] file='visit.csv': no such file; did you mean 'visits.csv'?"),
    ('file = "visits.csv"', 'file = "."', "[data] file='.': a folder, not a file"),
    ('file = "visits.csv"', 'file = "visits.csv"\nranges = { bsi = [0] }',
     "[data] ranges={'bsi': [0]}: not two numbers a column; write ranges = { bsi = [0, 4] }"),
    ('file = "visits.csv"', 'file = "visits.csv"\nmissing_codes = 999',
     "[data] missing_codes=999: not a list; write missing_codes = [999], or { bsi = [999] } for one column"),
    ('file = "visits.csv"', 'file = "visits.csv"\ndecimal = ";"',
     "[data] decimal=';': unknown option; there are '.', ','"),
    ('file = "visits.csv"', 'file = "visits.csv"\nseparator = ";"',
     "separator=';': the file has one column, 'patient,cohort,month,bsi,sipp,age,centre', which holds ','; "
     "give separator=','"),
    ('file = "visits.csv"', 'file = "visits.csv"\nranges = { age = [18, 41] }',
     "ranges['age']=(18, 41): 42 in lines 35, 36, 37, outside the range; correct it, or name it in missing_codes"),
    ('reference = "before"', 'reference = "befor"', "reference='befor': no such cohort; did you mean 'before'?"),
    ('reference = "before"', 'reference = "before"\nbaseline = 6',
     "baseline=6: no visit at this time; the first is at 0; say baseline=0, or name a column with the value before "
     "treatment"),
    ('reference = "before"', 'reference = "before"\nbaseline = "bsi_pre"',
     "baseline='bsi_pre': no such column; did you mean 'bsi'?"),
    ('reference = "before"', 'reference = "before"\ntime_unit = "moths"',
     "[roles] time_unit='moths': unknown option; did you mean 'months'?"),
    ('time = "month"', 'time = "mont"', "time='mont': no such column; did you mean 'month'?"),
    ('time = "month"', 'time = "centre"',
     "time='centre': the column holds text such as 'A' (lines 2, 3, 4 and 33 more); write numbers, or dates as "
     "YYYY-MM-DD with time_unit"),
    ('bsi = "lower"', 'bsi = "down"',
     "[outcomes] bsi='down': not a direction; write \"lower\" or \"higher\", whichever is better"),
    ('bsi = "lower"', 'bis = "lower"', "outcomes='bis': no such column; did you mean 'bsi'?"),
    ('bsi = "lower"', 'sipp = "higher"', "outcome='sipp': constant at 3; there is nothing to explain"),
    ('[outcomes]\nbsi = "lower"\n', '', "[outcomes]: missing; write for example bsi = \"lower\", if lower is better"),
    ('at = [18]', 'at = "18"', "[analysis] at='18': not a time or a list of times; write at=[18, 36]"),
    ('at = [18]', 'at = [24]', "at=24: no visit at this time; there are 0, 18, 36"),
    ('at = [18]', 'at = [0, 18]', "at=0: this is the baseline; nothing has changed yet"),
    ('at = [18]', '', "[analysis] at: missing; name the times to compare at, as at = [18, 36]"),
    ('at = [18]', 'at = [18]\nshape = "visit"', "[analysis] shape='visit': unknown option; did you mean 'visits'?"),
    ('at = [18]', 'at = [18]\nshape = 3',
     "[analysis] shape=3: unknown option; there are 'auto', 'linear', 'quadratic', 'log', 'visits'"),
    ('at = [18]', 'at = [18]\nmodel = "mrm"', "[analysis] model='mrm': unknown option; did you mean 'mmrm'?"),
    ('at = [18]', 'at = [18]\nmodel = "mmrm"\nshape = "linear"',
     "model='mmrm': an MMRM has a mean for every visit, and shape='linear' asks for a course; say model='growth', or "
     "leave shape= out"),
    ('at = [18]', 'at = [18]\nmodel = "mmrm"\ngroups = ["centre"]',
     "model='mmrm': an MMRM has no random effects, and groups=['centre'] asks for them; say model='growth', or leave "
     "groups= out"),
    ('at = [18]', 'at = [18]\nlevel = 95', "[analysis] level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
    ('at = [18]', 'at = [18]\nmargin = -0.2', "[analysis] margin=-0.2: not above 0"),
    ('at = [18]', 'at = [18]\ncorrection = "hommel"',
     "[analysis] correction='hommel': unknown option; did you mean 'holm'?"),
    ('at = [18]', 'at = [18]\nsd = "basline"', "[analysis] sd='basline': unknown option; did you mean 'baseline'?"),
    ('at = [18]', 'at = [18]\ndraws = 10', "[analysis] draws=10: less than 20"),
    ('at = [18]', 'at = [18]\nseed = 1.5', "[analysis] seed=1.5: not a whole number"),
    ('at = [18]', 'at = [18]\nadjust = ["agee"]', "adjust='agee': no such column; did you mean 'age'?"),
    ('at = [18]', 'at = [18]\ngroups = "centre"',
     "[analysis] groups='centre': not a list of columns; write groups = [\"...\"]"),
    ('at = [18]', 'at = [18]\ngroups = ["centre"]',
     "groups='centre': one centre only; a variance between centres takes at least two"),
    ('at = [18]', 'at = [18]\n\n[labels]\nbefor = "Earlier"',
     "[labels] befor: neither a column nor a cohort; did you mean 'before'?"),
    ('at = [18]', 'at = [18]\n\n[labels]\nbsi = 4', "[labels] bsi=4: not text; write bsi = \"...\""),
    ('[data]\nfile = "visits.csv"', '', "[data]: missing; it needs file"),
    ('[data]\nfile = "visits.csv"', 'data = "visits.csv"\n',
     "data='visits.csv': not a section; write [data] on a line of its own, and its keys below"),
    ('at = [18]', 'at = [18', "plan='PLAN': not TOML: Unclosed array (at end of document); compare with the plan of "
     "`implstats example`"),
    ('patient = "patient"', 'patient = patient',
     "plan='PLAN': not TOML: Invalid value (at line 7, column 11); compare with the plan of `implstats example`"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "put", "message"), BAD, ids=[f"{k}-{m.split(':')[0][:30]}" for k, (_, _, m) in enumerate(BAD)]
)
def test_message(tmp_path: Path, part: str, put: str, message: str) -> None:
    assert part in PLAN
    assert told(write(tmp_path, PLAN.replace(part, put))) == message


def test_all_faults_of_the_file_together(tmp_path: Path) -> None:
    text = PLAN.replace("visits.csv", "visit.csv").replace('"lower"', '"low"').replace("at = [18]", "at = []\nsed = 1")
    assert told(write(tmp_path, text)).split("\n") == [
        "[analysis] at=[]: no time is named; write at=[18, 36]",
        "[analysis] sed: unknown key; did you mean 'seed'?",
        '[outcomes] bsi=\'low\': not a direction; write "lower" or "higher", whichever is better',
        "[data] file='visit.csv': no such file; did you mean 'visits.csv'?",
    ]


def test_ranges_that_name_no_column_hide_no_other_fault(tmp_path: Path) -> None:
    plan = PLAN.replace('file = "visits.csv"', 'file = "visits.csv"\nranges = { sip = [1, 4] }')
    assert told(write(tmp_path, plan.replace('patient = "patient"', 'patient = "pateint"'))) == (
        "ranges: no column 'sip'; did you mean 'sipp'?\npatient='pateint': no such column; did you mean 'patient'?"
    )


def test_all_faults_of_the_columns_together(tmp_path: Path) -> None:
    text = PLAN.replace('"patient"', '"patent"').replace('bsi = "lower"', 'bsy = "lower"')
    assert told(write(tmp_path, text)).split("\n") == [
        "patient='patent': no such column; did you mean 'patient'?",
        "outcomes='bsy': no such column; did you mean 'bsi'?",
    ]


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(PlanError, match=re.escape("plan.tml': no such file; did you mean 'plan.toml'?")):
        read_plan(tmp_path / "plan.tml")
    with pytest.raises(PlanError, match=r"a folder, not a file; name the \.toml file"):
        read_plan(tmp_path)
    path.write_bytes(b'title = "a"\nnote = "caf\xe9"\n')
    assert told(path) == "plan='PLAN': not UTF-8 (line 2); save the plan as UTF-8"
    path = write(tmp_path)
    (tmp_path / "visits.csv").write_bytes(b"patient,cohort,month,bsi\n1,bef\xe9,0,1\n")
    assert told(path) == (
        "[data] file='visits.csv': not UTF-8: byte 0xe9 at position 30 (line 2); save the table as CSV in UTF-8"
    )


def test_two_rows_of_a_visit(tmp_path: Path) -> None:
    assert told(write(tmp_path, rows=[*ROWS, ROWS[1]])).startswith(
        "patient='patient': patient 1 has two rows at month=0"
    )


def test_a_baseline_column_is_of_one_outcome(tmp_path: Path) -> None:
    rows = [f"{r},{'pre' if k == 0 else 2}" for k, r in enumerate(ROWS)]
    text = PLAN.replace('"before"', '"before"\nbaseline = "pre"').replace('"lower"', '"lower"\nsipp = "higher"')
    assert told(write(tmp_path, text, rows)) == (
        "baseline='pre': one column cannot be the baseline of 2 outcomes; compare them one by one"
    )


def test_the_shape_is_checked_with_the_times(tmp_path: Path) -> None:
    linear = PLAN.replace("[18]", '[24]\nshape = "linear"')
    checked = check_plan(read_plan(write(tmp_path, linear)))
    assert checked.in_words()[-1] == (
        "outcome bsi: lower is better; growth model (linear time), because a course over time was asked for; "
        "bsi ~ month * cohort + (1 + month | patient)"
    )
    rows = [r for r in ROWS if ",during,36" not in r]
    assert told(write(tmp_path, PLAN.replace("[18]", '[18, 36]\nshape = "visits"'), rows)) == (
        "at=36: cohort 'during' has no visit at this time; its last is at 18"
    )


def test_the_model_is_told_beforehand(tmp_path: Path) -> None:
    checked = check_plan(read_plan(write(tmp_path)))
    assert checked.in_words()[-1] == (
        "outcome bsi: lower is better; MMRM, because there are three fixed visits; "
        "one covariance for all cohorts, as before has 6 patients, fewer than 20"
    )
    checked = check_plan(read_plan(write(tmp_path, PLAN.replace("[18]", '[18]\nmodel = "growth"'))))
    assert checked.in_words()[-1] == (
        "outcome bsi: lower is better; growth model (visits as categories), because it was asked for; "
        "bsi ~ factor(month) * cohort + (1 + month | patient)"
    )


def test_an_mmrm_of_dates_is_refused(tmp_path: Path) -> None:
    days = {"0": "2010-01-04", "18": "2011-07-04", "36": "2013-01-04"}
    rows = [ROWS[0], *(",".join([*r.split(",")[:2], days[r.split(",")[2]], *r.split(",")[3:]]) for r in ROWS[1:])]
    text = PLAN.replace('time = "month"', 'time = "month"\ntime_unit = "years"')
    assert told(write(tmp_path, text.replace("[18]", '[1.5]\nmodel = "mmrm"'), rows)) == (
        "model='mmrm': month is read from dates, which are no fixed visits; put them in windows with "
        "visits_from_dates, or say model='growth'"
    )


def test_dates_become_time(tmp_path: Path) -> None:
    days = {"0": "2010-01-04", "18": "2011-07-04", "36": "2013-01-04"}
    rows = [ROWS[0], *(",".join([*r.split(",")[:2], days[r.split(",")[2]], *r.split(",")[3:]]) for r in ROWS[1:])]
    assert told(write(tmp_path, rows=rows)) == (
        "time='month': the column holds dates, not numbers; write time_unit = \"months\" under [roles]"
    )
    text = PLAN.replace('time = "month"', 'time = "month"\ntime_unit = "years"').replace("[18]", "[1.5]")
    checked = check_plan(read_plan(write(tmp_path, text, rows)))
    assert dict(checked.faults) == {}
    why = "times were read from dates, which are no fixed visits"
    assert any(f"growth model (linear time), because {why}; " in line for line in checked.in_words())
    text = text.replace("at = [1.5]", 'at = [1.5]\nshape = "visits"')
    assert told(write(tmp_path, text, rows)) == (
        "shape='visits': times read from dates are no fixed visits; put them in windows with visits_from_dates"
    )


def test_an_outcome_that_cannot_be_fitted_is_told_beforehand(tmp_path: Path) -> None:
    checked = check_plan(read_plan(write(tmp_path, PLAN.replace('bsi = "lower"', 'bsi = "lower"\nsipp = "higher"'))))
    assert dict(checked.faults) == {"sipp": "outcome='sipp': constant at 3; there is nothing to explain"}
    assert checked.in_words()[-1] == (
        "outcome sipp: cannot be fitted: outcome='sipp': constant at 3; there is nothing to explain"
    )


def test_cohorts_that_are_numbers_keep_their_labels(tmp_path: Path) -> None:
    rows = [r.replace("before", "1").replace("during", "2") for r in ROWS]
    text = PLAN.replace('"before"', "1") + '\n[labels]\n1 = "Earlier"\n'
    assert check_plan(read_plan(write(tmp_path, text, rows))).in_words()[2] == (
        "compared: 2 with Earlier, at month 18, change since month 0"
    )


def test_the_bundled_plan_is_whole() -> None:
    plan = read_plan(example_files("reorganisation")[2])
    assert isinstance(plan, Plan)
    assert check_plan(plan).faults == {}
    assert plan.label("bsi") == "Symptom severity (BSI, 0-4)"
    assert plan.label("age") == "age"


def test_every_key_is_explained_in_the_bundled_plan() -> None:
    from implstats.batch.comparison import SECTIONS
    from implstats.batch.plan import TEXTS

    text = example_files("reorganisation")[2].read_text(encoding="utf-8")
    for key in [*TEXTS, *(key for keys in SECTIONS.values() for key in keys)]:
        assert re.search(rf"^(# )?{key} = .+# ", text, flags=re.MULTILINE), key


def test_the_switched_off_keys_of_the_bundled_plan_are_right(tmp_path: Path) -> None:
    from implstats.batch.comparison import SECTIONS

    text = example_files("reorganisation")[2].read_text(encoding="utf-8")
    text = re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    (tmp_path / "reorganisation.csv").write_bytes(example_files("reorganisation")[0].read_bytes())
    plan: Any = read_plan(tmp_path / "plan.toml")
    for section, keys in SECTIONS.items():
        assert set(plan.record[section]) == set(keys)
