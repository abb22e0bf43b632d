"""Files and frames are read as they are, or refused in words that name the line or the row."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.examples import example_files, load_example
from implstats.growth import fit_mmrm
from implstats.reading import read_data, visits_from_dates, visits_from_wide


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="study.csv"):
        content = text if isinstance(text, bytes) else text.encode("utf-8")
        (tmp_path / name).write_bytes(content)
        return name

    return write


def refused(call, *given, **options):
    with pytest.raises(DataError) as error:
        call(*given, **options)
    return str(error.value)


# read_data


def test_bundled_example_reads_alike():
    read = read_data(example_files("reorganisation")[0], ranges={"bsi": (0, 4), "sipp": (1, 4)})
    loaded = load_example("reorganisation")
    for column in ("admitted", "ended"):
        read[column] = pd.to_datetime(read[column], format="%Y-%m-%d")
    pd.testing.assert_frame_equal(read, loaded)


def test_types_follow_the_cells(write):
    text = "id,site,n,x,empty\n007,NA,1,1.5,\n12,NL,2,NA,\n3,,3,2e1,\n"
    frame = read_data(write(text))
    assert frame["id"].tolist() == ["007", "12", "3"]
    assert frame["site"].tolist()[:2] == ["NA", "NL"]
    assert pd.isna(frame["site"][2])
    assert frame["n"].dtype == "int64"
    assert frame["x"].tolist() == [1.5, pytest.approx(np.nan, nan_ok=True), 20.0]
    assert frame["empty"].isna().all()


def test_what_no_number_can_hold_stays_text(write):
    frame = read_data(write("id,far,digits,x\n99999999999999999999,1e400,٣,1e99\n99999999999999999998,1,4,2\n"))
    assert frame["id"].tolist() == ["99999999999999999999", "99999999999999999998"]
    assert frame["far"].tolist() == ["1e400", "1"]
    assert frame["digits"].tolist() == ["٣", "4"]
    assert frame["x"].tolist() == [1e99, 2.0]


def test_separator_decimal_quotes_and_byte_order_mark(write):
    text = '\ufeffid;bsi;note\r\n1;1,5;"a; b"\r\n\r\n2;-0,25;"line\nbreak"\r\n'
    frame = read_data(write(text), separator=";", decimal=",")
    assert list(frame) == ["id", "bsi", "note"]
    assert frame["bsi"].tolist() == [1.5, -0.25]
    assert frame["note"].tolist() == ["a; b", "line\nbreak"]


def test_what_spreadsheets_leave_at_the_ends_of_a_table_is_no_part_of_it(write):
    frame = read_data(write("id;bsi;;\n1;2;;\n; ;;\n2;;;\n;;;\n"), separator=";")
    assert list(frame.columns) == ["id", "bsi"]
    assert frame["id"].tolist() == [1, 2]
    # A complaint still names the line of the file.
    said = refused(read_data, write("id;bsi\n1;2\n;\n2;9\n"), separator=";", ranges={"bsi": (0, 4)})
    assert "9 in line 4" in said


def test_missing_codes_are_counted(write):
    name = write("id,bsi,sipp\n1,999,2\n2,1.5,999\n3,-99,x\n")
    frame = read_data(name, missing_codes=[999, -99, "x"], ranges={"bsi": (0, 4)})
    assert frame["bsi"].isna().tolist() == [True, False, True]
    assert frame.attrs["implstats"] == {"missing_codes": {"bsi": 2, "sipp": 2}, "ranges": {"bsi": (0, 4)}}


def test_missing_codes_by_column_leave_the_others(write):
    frame = read_data(write("id,bsi\n998,999\n999,2\n1000,1\n"), missing_codes={"bsi": [999]})
    assert frame["id"].tolist() == [998, 999, 1000]
    assert frame["bsi"].isna().tolist() == [True, False, False]


READ = [
    ("id;bsi\n1;2\n", {}, "separator=',': the file has one column, 'id;bsi', which holds ';'; give separator=';'"),
    (
        "id\tbsi\n1\t2\n",
        {},
        "separator=',': the file has one column, 'id\\tbsi', which holds '\\t'; give separator='\\t'",
    ),
    (
        'id,bsi\n1,"1,5"\n',
        {},
        "decimal='.': 'bsi' holds numbers with a decimal comma, such as '1,5' (line 2); give decimal=','",
    ),
    (
        "id;a;b\n1;2;1.5\n2;0.5;2\n",
        {"separator": ";", "decimal": ","},
        "decimal=',': 'a' holds numbers with a decimal point, such as '0.5' (line 3); give decimal='.'\n"
        "decimal=',': 'b' holds numbers with a decimal point, such as '1.5' (line 2); give decimal='.'",
    ),
    (
        b"id,name\n1,ok\n2,caf\xe9\n",
        {},
        "path='study.csv': not UTF-8: byte 0xe9 at position 18 (line 3); save the table as CSV in UTF-8",
    ),
    (" \n", {}, "path='study.csv': the file is empty"),
    (";;\n;;\n", {"separator": ";"}, "path='study.csv': the file is empty"),
    ("id,bsi\n", {}, "path='study.csv': a first line with names and no rows"),
    (
        "id,bsi\n1,2,3\n1\n",
        {},
        "path='study.csv': not 2 cells, as in the first line, in lines 2, 3; quote cells that hold the separator",
    ),
    (
        "id,,id\n1,2,3\n",
        {},
        "path='study.csv': column 2 has no name in the first line; name it\n"
        "path='study.csv': the column 'id' occurs twice; rename or drop one",
    ),
    ('id,bsi\n1,"2\n', {}, "path='study.csv': line 2 cannot be read, unexpected end of data; look for a stray quote"),
    (
        "id,bsi\n1,2\n",
        {"separator": ",,", "decimal": "x"},
        "separator=',,': not one character; give ',', ';' or '\\t'\ndecimal='x': not a decimal sign; give '.' or ','",
    ),
    ("id,bsi\n1,2\n", {"decimal": ","}, "decimal=',': the same as separator=; one of the two must differ"),
    (
        "id,bsi\n1,5\n\n2,1\n3,-3\n",
        {"ranges": {"bsi": (0, 4), "bs": (0, 1)}},
        "ranges: no column 'bs'; did you mean 'bsi'?\n"
        "ranges['bsi']=(0, 4): 5, -3 in lines 2, 5, outside the range; correct it, or name it in missing_codes",
    ),
    (
        "id,bsi\n1,abc\n2,1\n",
        {"ranges": {"bsi": (0, 4)}},
        "ranges['bsi']=(0, 4): 'abc' in line 2, not a number; correct it, or name it in missing_codes",
    ),
    (  # one word keeps its column from being numbers, and is all that is wrong with it
        "id;bsi\n1;0,89\n2;999\n3;n.a.\n4;7,5\n",
        {"separator": ";", "decimal": ",", "missing_codes": [999], "ranges": {"bsi": (0, 4)}},
        "ranges['bsi']=(0, 4): 'n.a.' in line 4, not a number; correct it, or name it in missing_codes\n"
        "ranges['bsi']=(0, 4): '7,5' in line 5, outside the range; correct it, or name it in missing_codes",
    ),
    ("id,bsi\n1,2\n", {"ranges": {"bsi": (4, 0)}}, "ranges['bsi']=(4, 0): not a low and a high value; write (0, 4)"),
    ("id,bsi\n1,2\n", {"ranges": 4}, "ranges=4: not a range per column; write ranges={'bsi': (0, 4)}"),
    ("id,bsi\n1,2\n", {"missing_codes": 999}, "missing_codes=999: not a list; write missing_codes=[999]"),
    (
        "id,bsi\n1,2\n",
        {"missing_codes": {"bsi": 999, "bsj": [1]}},
        "missing_codes={'bsi': 999, 'bsj': [1]}: not a list; write missing_codes=[999]\n"
        "missing_codes: no column 'bsj'; did you mean 'bsi'?",
    ),
    (
        "id,bsi\n1,3\n",
        {"missing_codes": [3], "ranges": {"bsi": (0, 4)}},
        "missing_codes=3: inside the range of 'bsi', (0, 4); it may be a value",
    ),
]


@pytest.mark.parametrize(("text", "options", "message"), READ)
def test_files_that_are_refused(write, text, options, message):
    assert refused(read_data, write(text), **options) == message


def test_paths_that_are_refused(write, tmp_path):
    write("id\n1\n")
    assert refused(read_data, "studi.csv") == "path='studi.csv': no such file; did you mean 'study.csv'?"
    assert refused(read_data, "none/at.csv") == "path='none/at.csv': no such file; there are none"
    (tmp_path / "folder.csv").mkdir()
    assert refused(read_data, "folder.csv") == "path='folder.csv': a folder, not a file"
    assert refused(read_data, 3) == "path=3: not the path of a file"


# visits_from_wide


def wide():
    return pd.DataFrame(
        {
            "id": [11, 12, 13],
            "arm": ["a", "b", "b"],
            "b0": [2.0, 1.5, 3.0],
            "b18": [1.0, 999.0, np.nan],
            "s18": ["2.5", "3", "unknown"],
        },
        index=["x", "y", "z"],
    )


def test_wide_becomes_visits():
    visits = visits_from_wide(
        wide(),
        patient="id",
        outcomes={"bsi": {0: "b0", 18: "b18"}, "sipp": {18: "s18"}},
        missing_codes=[999, "unknown"],
        ranges={"bsi": (0, 4)},
    )
    want = pd.DataFrame(
        {
            "id": [11, 11, 12, 12, 13, 13],
            "arm": ["a", "a", "b", "b", "b", "b"],
            "month": [0, 18] * 3,
            "bsi": [2.0, 1.0, 1.5, np.nan, 3.0, np.nan],
            "sipp": [np.nan, 2.5, np.nan, 3.0, np.nan, np.nan],
        }
    )
    pd.testing.assert_frame_equal(visits, want)
    assert visits.attrs["implstats"] == {"missing_codes": {"bsi": 1, "sipp": 1}, "ranges": {"bsi": (0, 4)}}


def test_wide_goes_back_and_forth_on_the_example():
    visits = load_example("reorganisation")
    table = visits.pivot_table(index=["patient", "cohort"], columns="month", values="bsi")
    table = table.add_prefix("bsi_").reset_index()
    table.columns.name = None
    columns = {m: f"bsi_{m}" for m in (0, 18, 36)}
    back = visits_from_wide(table, patient="patient", outcomes={"bsi": columns}, keep=["cohort"], time="month")
    assert list(back) == ["patient", "cohort", "month", "bsi"]
    both = visits.merge(back, on=["patient", "month"], suffixes=("", "_back"))
    assert len(both) == len(visits)
    pd.testing.assert_series_equal(both["bsi"], both["bsi_back"], check_names=False)


WIDE = [
    ({"patient": "ids"}, "patient='ids': no such column; did you mean 'id'?"),
    (
        {"outcomes": {"bsi": {0: "b0", 18: "b1"}}},
        "outcomes['bsi'][18]='b1': no such column; did you mean 'b18'?",
    ),
    (
        {"outcomes": {"bsi": "b0"}},
        "outcomes={'bsi': 'b0'}: not a column per outcome and time; write {'bsi': {0: 'bsi_t0', 18: 'bsi_t18'}}",
    ),
    (
        {"outcomes": {"bsi": {0: "b0", 18: "b0"}}},
        "outcomes['bsi'][18]='b0': already used by outcomes['bsi'][0]; each column holds one visit",
    ),
    ({"outcomes": {"bsi": {"t0": "b0"}}}, "time of outcomes['bsi']['t0']='t0': not a number"),
    ({"keep": ["arms"]}, "keep='arms': no such column; did you mean 'arm'?"),
    ({"time": "arm"}, "time='arm': also the name of another column of the result; choose another name"),
    (
        {"outcomes": {"arm": {0: "b0"}}},
        "outcomes='arm': also the name of another column of the result; choose another name",
    ),
    (
        {"outcomes": {"sipp": {18: "s18"}}},
        "outcomes['sipp']: 'unknown' in row 'z' of 's18' is not a number; correct it, or name it in missing_codes",
    ),
    (
        {"ranges": {"bsi": (0, 2.5)}},
        "ranges['bsi']=(0, 2.5): 3 in row 'z' of 'b0', outside the range; correct it, or name it in missing_codes\n"
        "ranges['bsi']=(0, 2.5): 999 in row 'y' of 'b18', outside the range; correct it, or name it in missing_codes",
    ),
    ({"ranges": {"bs": (0, 4)}}, "ranges: no column 'bs'; did you mean 'bsi'?"),
]


@pytest.mark.parametrize(("options", "message"), WIDE)
def test_wide_tables_that_are_refused(options, message):
    usual = {"patient": "id", "outcomes": {"bsi": {0: "b0", 18: "b18"}}}
    assert refused(visits_from_wide, wide(), **(usual | options)) == message


def test_wide_patients_must_be_there_once():
    outcomes = {"bsi": {0: "b0"}}
    said = "patient='id': 12 occurs in rows 'y', 'z'; give one row per patient"
    assert refused(visits_from_wide, wide().assign(id=[11, 12, 12]), patient="id", outcomes=outcomes) == said
    said = "patient='id': missing in row 'y'; give each row its patient, or drop the rows yourself"
    assert refused(visits_from_wide, wide().assign(id=[11, None, 12]), patient="id", outcomes=outcomes) == said


def test_wide_dates_are_no_outcomes():
    dated = wide().assign(b0=pd.Timestamp("2020-01-06"))
    said = refused(visits_from_wide, dated, patient="id", outcomes={"bsi": {0: "b0"}})
    assert said == (
        "outcomes['bsi']: 2020-01-06 in rows 'x', 'y', 'z' of 'b0' is not a number; "
        "correct it, or name it in missing_codes"
    )


# visits_from_dates


def seen():
    return pd.DataFrame(
        {
            "id": [1, 1, 1, 1, 2, 2],
            "admitted": ["2020-01-06"] * 4 + ["2020-02-01"] * 2,
            "day": ["2020-01-06", "2021-06-14", "2021-08-30", "2024-01-01", "2020-01-25", "2021-08-01"],
            "bsi": [2.0, 1.5, 1.4, 1.0, 3.0, 999.0],
        },
        index=[10, 11, 12, 13, 14, 15],
    )


USUAL = {"patient": "id", "date": "day", "origin": "admitted"}


def test_windows_put_visits_at_their_planned_time():
    visits = visits_from_dates(seen(), **USUAL, windows={0: (-1, 1), 18: (15, 24)}, missing_codes=[999])
    assert visits.index.tolist() == [10, 11, 14, 15]
    assert visits["month"].tolist() == [0, 18, 0, 18]
    assert visits["month"].dtype == "int64"
    assert visits.attrs["implstats"] == {
        "missing_codes": {"bsi": 1},
        "ranges": {},
        "visits": {"given": 6, "kept": 4, "outside every window": 1, "not the nearest in their window": 1},
    }


def test_nearest_visit_stays_and_of_equally_near_ones_the_earlier():
    frame = pd.DataFrame({"id": 1, "day": ["2020-01-15", "2020-01-07", "2020-01-12"], "bsi": [1.0, 2.0, 3.0]})
    options = {"patient": "id", "date": "day", "origin": "2020-01-01", "unit": "days"}
    assert visits_from_dates(frame, **options, windows={12: (0, 20)})["bsi"].tolist() == [3.0]
    tie = visits_from_dates(frame, **options, windows={10: (0, 10), 15: (10, 20)})
    assert tie["bsi"].tolist() == [1.0, 2.0]
    assert visits_from_dates(frame.iloc[:2], **options, windows={10: (0, 20)})["bsi"].tolist() == [2.0]


def test_the_day_of_origin_is_time_zero_without_a_window():
    visits = visits_from_dates(seen().iloc[:3], **USUAL, windows={18: (15, 24)})
    assert visits["month"].tolist() == [0, 18]


@pytest.mark.parametrize(("unit", "length"), [("months", 30.4375), ("weeks", 7.0), ("days", 1.0), ("years", 365.25)])
def test_units(unit, length):
    frame = pd.DataFrame({"id": [1, 1], "day": ["2020-01-06", "2021-06-14"]})
    visits = visits_from_dates(frame, patient="id", date="day", origin="2020-01-06", unit=unit, time="t")
    assert visits["t"].tolist() == [0, pytest.approx(525 / length)]


@pytest.mark.parametrize(
    "day",
    [
        ["2020-01-06", "2021-06-14"],
        ["2020-01-06T09:30", "2021-06-14 23:59:59"],
        pd.to_datetime(["2020-01-06 09:30", "2021-06-14 23:59"]),
        [dt.date(2020, 1, 6), dt.date(2021, 6, 14)],
    ],
)
@pytest.mark.parametrize("origin", ["2020-01-06", dt.date(2020, 1, 6), pd.Timestamp("2020-01-06 12:00")])
def test_dates_come_in_several_types_and_lose_their_time_of_day(day, origin):
    frame = pd.DataFrame({"id": [1, 1], "day": day})
    visits = visits_from_dates(frame, patient="id", date="day", origin=origin, unit="days")
    assert visits["month"].tolist() == [0, 525]


def test_a_window_may_reach_before_the_origin():
    said = refused(visits_from_dates, seen(), **USUAL, windows={18: (15, 24)})
    assert said == (
        "date='day': before the origin in row 14; correct the date or the origin, or give a window that reaches below 0"
    )


def test_the_frame_is_left_alone():
    frame = seen()
    visits_from_dates(frame, **USUAL, windows={0: (-1, 1)}, missing_codes=[999])
    pd.testing.assert_frame_equal(frame, seen())
    table = wide()
    visits_from_wide(table, patient="id", outcomes={"bsi": {0: "b0", 18: "b18"}}, missing_codes=[999])
    pd.testing.assert_frame_equal(table, wide())


DATES = [
    ({}, {"date": "days"}, "date='days': no such column; did you mean 'day'?"),
    (
        {},
        {"origin": "admited"},
        "origin='admited': neither a column nor a date as YYYY-MM-DD; did you mean 'admitted'?",
    ),
    (
        {},
        {"origin": "6/1/2020"},
        "origin='6/1/2020': neither a column nor a date as YYYY-MM-DD; there are 'id', 'admitted', 'day', 'bsi'",
    ),
    (
        {},
        {"origin": 2020},
        "origin=2020: neither a column nor a date as YYYY-MM-DD; there are 'id', 'admitted', 'day', 'bsi'",
    ),
    ({}, {"unit": "month"}, "unit='month': unknown option; did you mean 'months'?"),
    ({}, {"time": "bsi"}, "time='bsi': already a column; choose another name"),
    (
        {"day": ["2020-01-06", "03/04/2021", "13/04/2021", "soon", "2021-02-30", "2021-08-01"]},
        {},
        "date='day': '03/04/2021' is not a date as YYYY-MM-DD, in rows 11, 12, 13 and 1 more; "
        "write dates as YYYY-MM-DD",
    ),
    (
        {"day": 43836},
        {},
        "date='day': 43836 is not a date as YYYY-MM-DD, in rows 10, 11, 12 and 3 more; write dates as YYYY-MM-DD",
    ),
    (
        {"day": pd.date_range("2020-01-06", periods=6, tz="UTC")},
        {},
        "date='day': has a time zone; drop it with .dt.tz_localize(None)",
    ),
    (
        {"day": ["2020-01-06", None, "2021-08-30", "2024-01-01", "2020-02-25", None]},
        {},
        "date='day': missing in rows 11, 15; give the date, or drop the rows yourself",
    ),
    (
        {"id": [1, 1, None, 1, 2, 2]},
        {"windows": {0: (-1, 1)}},
        "patient='id': missing in row 12; give each row its patient, or drop the rows yourself",
    ),
    (
        {"day": ["2020-01-06", "2021-06-14", "2021-06-14", "2024-01-01", "2020-02-25", "2021-08-01"]},
        {},
        "date='day': two rows of one patient on one day in rows 11, 12; keep one",
    ),
    (
        {"admitted": ["2020-01-06", "2020-01-05", "2020-01-06", "2020-01-06", "2020-01-01", "2020-01-01"]},
        {},
        "origin='admitted': changes within patient 1, rows 10, 11, 12 and 1 more; give one",
    ),
    (
        {},
        {"windows": {18: (15, 24), 30: (20, 40), 1: (2, 3)}},
        "windows[1]=(2, 3): not a low and a high time around 1; write windows={18: (15, 24)}\n"
        "windows: those of 18 and 30 overlap from 20 to 24; end one where the other begins",
    ),
    ({}, {"windows": [18]}, "windows=[18]: not a window per planned time; write windows={18: (15, 24)}"),
    (
        {},
        {"ranges": {"bsi": (0, 4)}, "unit": "fortnights"},
        "unit='fortnights': unknown option; there are 'days', 'weeks', 'months', 'years'\n"
        "ranges['bsi']=(0, 4): 999 in row 15, outside the range; correct it, or name it in missing_codes",
    ),
    (
        {},
        {"missing_codes": {"day": [1]}},
        "missing_codes: no column 'day'; there are 'bsi'",
    ),
]


@pytest.mark.parametrize(("columns", "options", "message"), DATES)
def test_dates_that_are_refused(columns, options, message):
    assert refused(visits_from_dates, seen().assign(**columns), **(USUAL | options)) == message


def test_a_declared_range_lets_a_model_go_on_with_what_looks_like_a_code(tmp_path):
    table = load_example("reorganisation").drop(columns="sipp")
    table["days"] = (5 * table["bsi"]).round()
    table.loc[5, "days"] = 99
    name = tmp_path / "stays.csv"
    table.to_csv(name, index=False)
    roles = {"visit": "month", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}
    assert "(ranges={'days': (1, 99)})" in refused(fit_mmrm, read_data(name), outcome="days", **roles)
    read = read_data(name, ranges={"days": (0, 365)})
    # What is done to a table on its way to a model does not lose the declaration.
    used = read[read["month"] < 36].assign(later=1).reset_index(drop=True)
    assert fit_mmrm(used, outcome="days", **roles).effect_sizes(18).tidy()["estimate"].notna().all()
