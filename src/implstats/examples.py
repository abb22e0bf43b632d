"""The bundled data: one table a name, each with a dictionary that says what every column means and where it is from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check
from implstats.errors import DataError

__all__ = ["describe_example", "example_files", "list_examples", "load_example"]

# A plan has the example's name, but for the one that is there to show what a batch is.
PLANS = {"multisite": "batch"}


def load_example(name: str) -> pd.DataFrame:
    """Show what a documented data set looks like in the form that implstats reads.

    Parameters
    ----------
    name : str
        A name from `list_examples()`.

    Returns
    -------
    pandas.DataFrame
        The table, with the types that its dictionary states: integer and number columns are numeric, dates are
        datetimes, text and categories are strings.

    Raises
    ------
    DataError
        If there is no such example; the message names the nearest.

    Examples
    --------
    >>> from implstats import load_example
    >>> visits = load_example("reorganisation")
    >>> visits[["patient", "cohort", "month", "bsi", "sipp"]].head(3)
       patient  cohort  month   bsi  sipp
    0        1  before      0  1.73  1.93
    1        1  before     18  1.17  2.40
    2        1  before     36  1.72  2.08
    """
    described = describe_example(name)
    kinds = {column["name"]: column["type"] for column in described["columns"]}
    typed = {"integer": "int64", "number": "float64"}
    frame = pd.read_csv(
        example_files(name)[0],
        dtype={column: typed.get(kind, "str") for column, kind in kinds.items()},
        keep_default_na=False,
        na_values=[described["missing"]],
        encoding="utf-8",
    )
    dates = [column for column, kind in kinds.items() if kind == "date"]
    return frame.assign(**{column: pd.to_datetime(frame[column], format="%Y-%m-%d") for column in dates})


def list_examples() -> pd.DataFrame:
    """Tell which data sets come with implstats.

    Returns
    -------
    pandas.DataFrame
        One row an example: name, rows, what (what it is), source.

    Examples
    --------
    >>> from implstats import list_examples
    >>> list_examples()[["name", "rows"]]
                          name  rows
    0      adherence_consensus    21
    1    broken_reorganisation   473
    2             case_ratings    28
    3                    cases     7
    4             determinants     8
    5       effect_size_ranges     4
    6    mended_reorganisation   469
    7        misimplementation     9
    8                multisite  1722
    9        programme_history   299
    10        programme_phases  1240
    11              programmes   150
    12          reorganisation   388
    13  reorganisation_dropout   144
    """
    described = [describe_example(name) for name in _names()]
    return pd.DataFrame(
        {
            "name": [d["name"] for d in described],
            "rows": [d["rows"] for d in described],
            "what": [d["title"] for d in described],
            "source": [d["source"] for d in described],
        }
    )


def describe_example(name: str) -> dict[str, Any]:
    """Tell what every column of an example means, and where the table is from.

    Parameters
    ----------
    name : str
        A name from `list_examples()`.

    Returns
    -------
    dict
        The data dictionary: title, source, licence, generator, seed and truth of simulated data, notes, and under
        "columns" one dict a column with name, label, unit, type, levels, missing code, range, and which end is better.

    Raises
    ------
    DataError
        If there is no such example; the message names the nearest.

    Examples
    --------
    >>> from implstats.examples import describe_example
    >>> describe_example("reorganisation")["truth"]["d"]["bsi"]["during"]
    {'18': 0.35, '36': 0.5}
    """
    described: dict[str, Any] = json.loads(example_files(name)[1].read_text(encoding="utf-8"))
    return described


def example_files(name: str) -> list[Path]:
    """Tell which files make up an example: the table, its dictionary, and a plan where there is one.

    Parameters
    ----------
    name : str
        A name from `list_examples()`.

    Returns
    -------
    list of pathlib.Path
        NAME.csv, NAME.json, then a plan (NAME.toml; of multisite, batch.toml) if `implstats run` can carry the example
        out.

    Raises
    ------
    DataError
        If there is no such example; the message names the nearest.

    Examples
    --------
    >>> from implstats.examples import example_files
    >>> [file.name for file in example_files("determinants")]
    ['determinants.csv', 'determinants.json']
    """
    if name not in _names():
        raise DataError(f"name={_check.show(name)}: no such example{_check.nearest(name, _names())}")
    files = [_folder() / file for file in (f"{name}.csv", f"{name}.json", f"{PLANS.get(name, name)}.toml")]
    return [file for file in files if file.is_file()]


def _folder() -> Path:
    """Return where the tables are: beside this file in a wheel, in data/examples of a checkout or editable install."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "_examples", here.parents[2] / "data" / "examples"):
        if folder.is_dir():
            return folder
    raise DataError("implstats is installed without its examples; reinstall it from a wheel, an sdist or a checkout")


def _names() -> list[str]:
    return sorted(file.stem for file in _folder().glob("*.json") if file.with_suffix(".csv").is_file())
