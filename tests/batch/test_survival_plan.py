"""A plan's survival analyses: every fault of the file and of the data in one message, before anything is fitted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from implstats.batch import Data, Plan, Survival, check_plan, read_plan
from implstats.batch.survival import SURVIVAL
from implstats.errors import PlanError
from implstats.examples import example_files

PLAN = """\
[data]
file = "programmes.csv"

[[survival]]
name = "Stopping"
duration = "years"
event = "stopped"
at = [2, 5]
by = "era"
terms = ["support"]
"""
ROWS = ["programme,years,stopped,era,support,status,site,entered,weight,alone"]
ENDS = [(1, "early", "stopped"), (2, "early", "merged"), (3, "early", "stopped"), (4, "early", "active")]
ENDS += [(5, "early", "stopped"), (6, "early", "active"), (1.5, "late", "stopped"), (2.5, "late", "stopped")]
ENDS += [(3.5, "late", "merged"), (4.5, "late", "stopped"), (5.5, "late", "active"), (7, "late", "stopped")]
ROWS += [
    f"{k},{years},{int(status == 'stopped')},{era},{k % 5},{status},{'ABC'[k % 3]},{years / 4},{1 + k % 2},x"
    for k, (years, era, status) in enumerate(ENDS)
]


def write(folder: Path, text: str = PLAN, rows: list[str] | None = None) -> Path:
    (folder / "programmes.csv").write_text("\n".join(rows or ROWS) + "\n", encoding="utf-8")
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def told(path: Path) -> str:
    with pytest.raises(PlanError) as caught:
        check_plan(read_plan(path))
    return str(caught.value)


S = "[survival Stopping] "
# What is replaced in the plan, by what, and the whole message.
BAD = [
    # The file.
    ('name = "Stopping"\n', "", '[survival 1] name: missing; write what the report calls the question, as name = '
     '"Programmes that stopped"'),
    ("at = [2, 5]\n", "", S + "at: missing; name the times at which the share is asked, as at = [2, 5]"),
    ("at = [2, 5]", 'at = "2"', S + "at='2': not a time or a list of times; write at=[18, 36]"),
    ('by = "era"', 'bye = "era"', S + "bye: unknown key; did you mean 'by'?"),
    ('by = "era"', 'shape = "linear"', S + "shape: unknown key; it belongs under [analysis]"),
    ("[data]", 'duration = "years"\n[data]', "duration: unknown key; it belongs under [[survival]]"),
    ("[[survival]]", "[survival]",
     "survival: not a list of sections; write [[survival]] on a line of its own, in two pairs of brackets"),
    ('[data]\nfile = "programmes.csv"\n', "",
     S + 'file: missing; write file = "programmes.csv" here, or under [data] for all analyses'),
    ('name = "Stopping"', 'name = "Stopping"\nfile = "programs.csv"',
     S + "file='programs.csv': no such file; did you mean 'programmes.csv'?"),
    ('name = "Stopping"', 'name = "Stopping"\nranges = { support = [0, 4] }',
     S + "ranges: goes with a file of its own; name the file, or write it under [data]"),
    ('file = "programmes.csv"', "", S + 'file: missing; write file = "programmes.csv" here, or under [data] for all '
     "analyses"),
    ('file = "programmes.csv"', 'file = "programmes.csv"\nseparator = ";"',
     "separator=';': the file has one column, 'programme,years,stopped,era,support,status,site,entered,weight,alone', "
     "which holds ','; give separator=','"),
    ('by = "era"', "penalty = 0", S + "penalty=0: not above 0"),
    ('by = "era"', 'penalty = "ridge"', S + "penalty='ridge': unknown option; there are 'firth'"),
    ('by = "era"', 'ties = "effron"', S + "ties='effron': unknown option; did you mean 'efron'?"),
    ('by = "era"', "fine_gray = 1", S + "fine_gray=1: neither true nor false; write fine_gray = true"),
    ('by = "era"', "causes = []", S + 'causes=[]: not a list of values; write causes = ["..."]'),
    ('by = "era"', 'reference = "early"',
     S + "reference='early': not a value for each name; write reference = { era = \"before\" }"),
    ('by = "era"', 'level = 95', S + "level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
    # Columns and data.
    ('duration = "years"', 'duration = "yers"', S + "duration='yers': no such column; did you mean 'years'?"),
    ('event = "stopped"', 'event = "status"',
     S + "event='status': holds 'active' (rows 3, 5, 10), neither 0 nor 1; with causes, say censored=, the value that "
     "stands for no event"),
    ('event = "stopped"', 'event = "status"\ncensored = "activ"',
     S + "censored='activ': no row of status has it; did you mean 'active'?"),
    ('event = "stopped"', 'event = "status"\ncensored = "active"\ncauses = ["stoped"]',
     S + "causes='stoped': no cause in status; did you mean 'stopped'?"),
    ('by = "era"', 'causes = ["stopped"]', S + "causes='stopped': 'stopped' holds 0 and 1; leave causes out"),
    ('event = "stopped"', 'event = "status"\ncensored = "active"\ntau = 5',
     S + "tau=5: several causes end a spell, and a mean time until which is not defined; leave it out"),
    ('by = "era"', 'fine_gray = true',
     S + "fine_gray=true: one kind of event ends a spell; its Cox model says all, so leave fine_gray out"),
    ('event = "stopped"', 'event = "status"\ncensored = "active"\nfine_gray = true\nentry = "entered"',
     S + "fine_gray=true: Fine and Gray's model takes no entry; leave one of the two out"),
    ("at = [2, 5]", "at = [0, 2, 50]", S + "at=0: not after the start; name times above 0\n"
     + S + "at=50: nobody was followed so long; the longest follow-up is 7"),
    ('by = "era"', 'by = "alone"',
     S + "by='alone': one group only ('x'); leave it out, or name a column with two or more"),
    ('by = "era"', 'by = "era"\ntau = 6.5',
     S + "tau=6.5: beyond the follow-up of a group, which ends at 6; choose tau up to 6"),
    ('by = "era"', 'by = "era"\nstrata = "era"',
     S + "strata='era': is named as by= too; groups are compared within strata; leave one of the two out"),
    ('by = "era"', 'by = "era"\nreference = { site = "A" }',
     S + "reference={'site': 'A'}: 'site' is neither by= nor among the terms; there are 'era', 'support'"),
    ('by = "era"', 'by = "era"\nreference = { era = "erly" }',
     S + "reference={'era': 'erly'}: no row of 'era' has 'erly'; did you mean 'early'?"),
    ('by = "era"', 'frailty = "site"\ncluster = "site"',
     S + "frailty='site': does not go with cluster: both say how rows hang together; leave one out"),
    ('by = "era"', 'cluster = "alone"', S + "cluster='alone': one group only ('1'); leave it out"),
    ('["support"]', '["suport"]', S + "terms='suport': no such column; did you mean 'support'?"),
    ('["support"]', '"support + bs(programme, df=7)"',
     S + "terms='support + bs(programme, df=7)': 8 parameters for 7 events; use fewer terms, or penalty = 'firth'"),
    ('by = "era"', 'words = { row = "programmes" }',
     S + "words={'row': 'programmes'}: 'row' is nothing that sentences name; did you mean 'rows'?"),
    ("[data]", 'labels = { erly = "Early" }\n[data]',
     "[labels] erly: neither a column nor a value of one; did you mean 'early'?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "put", "message"), BAD, ids=[f"{k}-{m.split(':')[0][-30:]}" for k, (_, _, m) in enumerate(BAD)]
)
def test_message(tmp_path: Path, part: str, put: str, message: str) -> None:
    assert part in PLAN
    assert told(write(tmp_path, PLAN.replace(part, put, 1))) == message


def test_all_faults_of_the_file_together(tmp_path: Path) -> None:
    text = PLAN.replace("programmes.csv", "program.csv").replace('"years"', '""').replace("at = [2, 5]", "at = []")
    text += '[[survival]]\nname = "stopping"\nduration = "years"\nevent = "stopped"\nat = [2]\nfil = "x"\n'
    assert told(write(tmp_path, text)).split("\n") == [
        "[data] file='program.csv': no such file; did you mean 'programmes.csv'?",
        "[survival Stopping] duration='': empty; write it, or leave the key out",
        "[survival Stopping] at=[]: no time is named; write at=[18, 36]",
        "[survival stopping] fil: unknown key; did you mean 'file'?",
        "[survival stopping] name: another analysis has it too; each needs one of its own",
    ]


def test_faults_of_the_data_in_every_analysis_and_in_the_comparison_together(tmp_path: Path) -> None:
    text = PLAN.replace('"years"', '"yeers"')
    text += '[[survival]]\nname = "Second"\nduration = "years"\nevent = "stoped"\nat = [2]\nfile = "programmes.csv"\n'
    text += '[roles]\npatient = "programe"\ntime = "years"\ncohort = "era"\nreference = "early"\n'
    text += '[outcomes]\nsupport = "higher"\n[analysis]\nat = [5]\n'
    assert told(write(tmp_path, text)).split("\n") == [
        "patient='programe': no such column; did you mean 'programme'?",
        "[survival Stopping] duration='yeers': no such column; did you mean 'years'?",
        "[survival Second] event='stoped': no such column; did you mean 'stopped'?",
    ]


def test_no_event_is_refused(tmp_path: Path) -> None:
    rows = [ROWS[0], *(re.sub(r",[01],(early|late)", r",0,\1", r) for r in ROWS[1:])]
    assert told(write(tmp_path, rows=rows)) == (
        "[survival Stopping] event='stopped': no event in any row; without events there is nothing to analyse"
    )


def test_what_would_be_run(tmp_path: Path) -> None:
    text = PLAN + '[[survival]]\nname = "Causes"\nduration = "years"\nevent = "status"\ncensored = "active"\nat = [2]\n'
    rows = [*ROWS, "99,,1,late,3,active,A,0,1,x"]
    checked = check_plan(read_plan(write(tmp_path, text + '[labels]\nmerged = "joined another"\n', rows)))
    assert checked.in_words() == [
        "What the data say",
        "survival Stopping: programmes.csv, 12 of 13 rows; 7 stopped",
        "share without the event at 2, 5 years, by era (early, late)",
        "Cox model: support; 1 parameter, 7 events per parameter, below 10",
        "survival Causes: programmes.csv, 12 of 13 rows; under 5 joined another, 7 stopped",
        "incidence of each cause at 2 years",
    ]


def test_a_plan_made_in_python(tmp_path: Path) -> None:
    write(tmp_path)
    asked = Survival("S", Data("programmes.csv"), duration="years", event="stopped", at=[2])
    checked = check_plan(Plan(survival=(asked,), path=tmp_path / "plan.toml"))
    assert checked.comparison is None
    assert checked.survival[0].causes == (None,)
    assert checked.survival[0].unit == "years"


def test_a_group_of_the_right_name_comes_first(tmp_path: Path) -> None:
    text = PLAN.replace('by = "era"', 'by = "era"\nreference = { era = "late" }')
    (checked,) = check_plan(read_plan(write(tmp_path, text))).survival
    assert checked.spells.groups == ("late", "early")


def test_a_file_of_its_own_is_read_as_the_others(tmp_path: Path) -> None:
    text = PLAN.replace(
        'file = "programmes.csv"', 'file = "programmes.csv"\nseparator = ";"\nranges = { age = [0, 9] }'
    )
    text = text.replace('name = "Stopping"', 'name = "Stopping"\nfile = "own.csv"')
    (tmp_path / "own.csv").write_text("\n".join(ROWS).replace(",", ";") + "\n", encoding="utf-8")
    plan = read_plan(write(tmp_path, text))
    assert plan.survival[0].data == Data("own.csv", separator=";")
    assert len(check_plan(plan).survival[0].frame) == 12


# The bundled plan ----------------------------------------------------------------------------------------------------


def bundled() -> str:
    return example_files("programmes")[2].read_text(encoding="utf-8")


def test_the_bundled_plan_is_whole() -> None:
    checked = check_plan(read_plan(example_files("programmes")[2]))
    assert [one.asked.name for one in checked.survival] == ["Programmes that stopped", "Stopped or merged"]


def test_every_key_is_explained_in_the_bundled_plan() -> None:
    for key in ("title", "note", *SURVIVAL):
        assert re.search(rf"^(# )?{key} = .+# ", bundled(), flags=re.MULTILINE), key


def test_the_switched_off_keys_of_the_bundled_plan_are_right(tmp_path: Path) -> None:
    text = re.sub(r"^# ([a-z_]+ = )", r"\1", bundled(), flags=re.MULTILINE)
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    for name in ("programmes.csv", "patients.csv"):
        shutil.copyfile(example_files("programmes")[0], tmp_path / name)
    plan = read_plan(tmp_path / "plan.toml")
    keys = {*plan.record["data"], *(key for table in plan.record["survival"] for key in table)}
    assert keys == set(SURVIVAL)
