"""What ratings say to bad input: one row a mistake with its whole message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES: dict[str, Any] = {"item": "item", "rater": "rater", "score": "score"}
CONSENSUS = (
    "one agreed value per item is no sample of raters: how far those who agreed on it had differed cannot be computed "
    "from it; give each rater's own score, one row per item and rater"
)
TAKES_GAPS = "krippendorff_alpha and gwet_ac1 take what was rated"
ITS_OWN = "form='1' takes items with raters of their own, krippendorff_alpha takes what was rated"
OWN_ROLE = "each role has a column of its own"
MEND = "mend it, or say scale= and step="
SCALE = "write scale=(1, 7)"


def frame(**changed: Any) -> pd.DataFrame:
    """Return three raters' scores of four items, with columns replaced."""
    made = pd.DataFrame({"item": list("wxyz") * 3, "rater": np.repeat(["a", "b", "c"], 4)})
    return made.assign(score=[1, 2, 3, 4, 2, 2, 3, 5, 1, 3, 3, 4], kind=list("pqqp") * 3).assign(**changed)


def icc(data: Any = None, **options: Any) -> Any:
    return ist.icc(frame() if data is None else data, **(ROLES | options))


def kappa(data: Any = None, **options: Any) -> Any:
    return ist.kappa(frame() if data is None else data, **(ROLES | options))


def alpha(data: Any = None, **options: Any) -> Any:
    given = ROLES | {"metric": "nominal", "draws": 20, "rng": 1} | options
    return ist.krippendorff_alpha(frame() if data is None else data, **given)


def within(data: Any = None, **options: Any) -> Any:
    given = {"rater": "rater", "score": "score", "item": "item", "scale": (1, 5)} | options
    return ist.within_group_agreement(frame() if data is None else data, **given)


def bounds(data: Any = None, **options: Any) -> Any:
    means = pd.DataFrame({"mean": [4.2, 3.0], "low": [3, 1], "high": [5, 4]}, index=["A", "B"])
    given = {"mean": "mean", "low": "low", "high": "high", "raters": 12, "scale": (1, 5)} | options
    return ist.within_group_bounds(means if data is None else data, **given)


def means(**changed: Any) -> pd.DataFrame:
    return pd.DataFrame({"mean": [4.2, 3.0], "low": [3, 1], "high": [5, 4]}, index=["A", "B"]).assign(**changed)


def agreed(**changed: Any) -> pd.DataFrame:
    """Return one agreed value for each of three items in two cohorts."""
    made = pd.DataFrame({"item": list("xyz") * 2, "level": ["team", "team", "staff"] * 2})
    return made.assign(cohort=["before"] * 3 + ["during"] * 3, score=["7", "6", "5", "2/3", "2", "1"], **changed)


def profile(data: Any = None, **options: Any) -> Any:
    given = {"item": "item", "level": "level", "group": "cohort", "score": "score"} | options
    return ist.rating_profile(agreed() if data is None else data, **given)


def exposed(groups: int = 2, **options: Any) -> Any:
    data = pd.concat([agreed().assign(cohort=f"site {k}").head(3) for k in range(groups)], ignore_index=True)
    visits = pd.DataFrame({"site": ["site 0", "site 1", "site 9"][: groups + 1]})
    return profile(data).exposure(visits, **({"group": "site"} | options))


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    # What cannot be answered, with the reason
    (lambda: icc(rater=None), f"rater=None: {CONSENSUS}"),
    (lambda: kappa(frame(rater="panel", item=range(12))), f"rater='rater': one rater only ('panel'): {CONSENSUS}"),
    (lambda: alpha(frame(item=range(12))), f"rater='rater': no item has two ratings: {CONSENSUS}"),
    (
        lambda: icc(frame(score=["1", "2", "2/3", "4"] * 3)),
        f"score='score': holds '2/3' (rows 2, 6, 10), a value between two: {CONSENSUS}",
    ),
    (
        lambda: icc(profile()),
        "frame: a rating profile holds agreed values, and " + CONSENSUS,
    ),
    (lambda: within(rater=None), f"rater=None: {CONSENSUS}"),
    (lambda: within(frame(item=range(12))), f"rater='rater': no group has two ratings of one item: {CONSENSUS}"),
    (
        exposed,
        "group='site': ratings of 2 groups; with two, a rating is another name for the group, and a regression of "
        "outcomes on it only says again how the two differ, for whatever reason; compare the groups, and show their "
        "ratings beside the answer",
    ),
    # Columns and arguments
    (
        lambda: icc(rater="ratr", form="A1", level=95, missing="keep"),
        "form='A1': unknown option; did you mean 'A,1'?\n"
        "level=95: not between 0 and 1; 0.95 gives 95 % intervals\n"
        "missing='keep': unknown option; there are 'drop', 'raise'\n"
        "rater='ratr': no such column; did you mean 'rater'?",
    ),
    (lambda: icc(item="rater"), f"rater='rater': is named as item= too; {OWN_ROLE}"),
    (
        lambda: icc(frame(score=list("abcd") * 3)),
        "score='score': the column holds text such as 'a' (rows 0, 1, 2 and 9 more); make it numeric, missing as NaN",
    ),
    (
        lambda: icc(frame(item=["w", "w", "y", "z"] * 3)),
        "rater='rater': has rated an item before in rows 1, 5, 9; keep one row per item and rater",
    ),
    (
        lambda: icc(frame(item="w", rater=range(12))),
        "item='item': one item only; agreement is judged by how far raters tell items apart",
    ),
    (lambda: icc(frame(score=3)), "score='score': every score is 3, so there is no variance to share out"),
    (
        lambda: icc(frame(score=[np.nan, 2, 3, 4, 2, np.nan, 3, 5, 1, 3, np.nan, np.nan])),
        f"rater='rater': fewer than two items were rated by every rater; {ITS_OWN}",
    ),
    (
        lambda: icc(frame().iloc[1:], missing="raise"),
        f"missing='raise': some rater did not rate 'w'; {ITS_OWN}",
    ),
    (
        lambda: icc(frame(score=[1, 5, 2, 4, 5, 1, 4, 2, 3, 3, 3, 3]), form="A,k"),
        "score='score': ICC(A,k) is not defined: the variance that it is a share of is not positive (mean squares: "
        "items 0, raters 0, error 3.333)",
    ),
    (
        lambda: icc(frame(score=np.nan)),
        "score='score': every value is missing; look at the file or name another column",
    ),
    (
        lambda: icc(frame(score=[1, 2, np.nan, 4, 2, 2, 3, 5, 1, 3, 3, 4]), missing="raise"),
        "missing='raise': score missing in row 2; drop these rows yourself or say missing='drop'",
    ),
    # Categories
    (
        lambda: kappa(weights="linear"),
        "weights='linear': 3 raters, and weights are for two; use krippendorff_alpha(metric='ordinal') or "
        "icc(form='A,1')",
    ),
    (
        lambda: kappa(frame(score=list("pqqp") * 3).head(8), weights="linear"),
        "weights='linear': the categories have no order; name them in their order: categories=[...]",
    ),
    (
        lambda: kappa(frame(score="p")),
        "score='score': every rating is 'p', so nothing is beyond chance; kappa is not defined",
    ),
    (
        lambda: kappa(frame().drop([0, 5]), missing="raise"),
        f"missing='raise': fewer ratings of 'w', 'x' than of other items; {TAKES_GAPS}",
    ),
    (
        lambda: kappa(frame().drop([0, 1, 6])),
        f"rater='rater': fewer than two items have as many ratings as any; {TAKES_GAPS}",
    ),
    (
        lambda: alpha(frame(score=list("pqqp") * 3), metric="ordinal"),
        "metric='ordinal': the categories have no order; name them in their order: categories=[...]",
    ),
    (lambda: alpha(metric="ratio"), "metric='ratio': unknown option; there are 'nominal', 'ordinal', 'interval'"),
    (lambda: alpha(draws=5), "draws=5: less than 20; 2000 serve 95 % intervals"),
    (
        lambda: alpha(rng=-1),
        "rng=-1: neither a whole number of 0 or more nor a numpy Generator; rng=1 gives the same draws every time",
    ),
    (
        lambda: alpha(categories=[1, 2, 3]),
        "categories=[1, 2, 3]: leaves out 4 (rows 3, 11); name every category that a rater could give",
    ),
    (
        lambda: alpha(categories=[1, 2, 3, 3, 4, 5]),
        "categories=[1, 2, 3, 3, 4, 5]: names a category twice; name each once, in their order",
    ),
    (
        lambda: alpha(categories="12345"),
        "categories='12345': not a list of two or more categories; write categories=[1, 2, 3, 4, 5]",
    ),
    (
        lambda: ist.gwet_ac1(frame(score=1), **ROLES),
        "score='score': every rating is 1, so nothing is beyond chance; name all that could be given: categories=[...]",
    ),
    # Scales
    (lambda: within(scale=(5, 1)), f"scale=(5, 1): the lowest value is not below the highest; {SCALE}"),
    (lambda: within(scale=7), f"scale=7: not the lowest and the highest value; {SCALE}"),
    (lambda: within(scale=(1, "7")), f"scale='7': not a number; {SCALE}"),
    (lambda: within(step=0.3), "step=0.3: does not lead from 1 to 5; change it, or scale="),
    (lambda: within(step=0), "step=0: not above 0; it is the distance of neighbouring values"),
    (lambda: within(null=-1), "null=-1: not above 0; it is a variance"),
    (lambda: within(scale=(1, 4)), f"score='score': 5 is not on the scale (row 7); {MEND}"),
    (lambda: within(frame(score=2.5)), f"score='score': 2.5 is not on the scale (rows 0, 1, 2 and 9 more); {MEND}"),
    (
        lambda: within(frame(rater="a")),
        "rater='rater': has rated the same before in rows 4, 5, 6 and 5 more; keep one row per rater, group and item",
    ),
    # Published means
    (
        lambda: bounds(raters=1, decimals=-1),
        "raters=1: less than 2; it is the number of scores behind each mean\ndecimals=-1: less than 0",
    ),
    (
        lambda: bounds(means(low=[3, 0], high=[6, 4])),
        f"low='low': 0 is not on the scale (row 'B'); {MEND}\nhigh='high': 6 is not on the scale (row 'A'); {MEND}",
    ),
    (
        lambda: bounds(means(mean=[4.2, 4.5])),
        "mean='mean': no 12 scores have the mean and range of row 'B'; look at raters=, decimals= and scale=",
    ),
    (lambda: bounds(low="mean"), f"low='mean': is named as mean= too; {OWN_ROLE}"),
    # Profiles
    (
        lambda: profile(group=None, score=[]),
        "score=[]: no column of ratings is named; write score=['before', 'during']",
    ),
    (
        lambda: profile(group=None, score=["score", "score"]),
        f"score[1]='score': is named as score[0]= too; {OWN_ROLE}",
    ),
    (
        lambda: profile(group=None),
        "group=None: no groups are named; name their column, or one column of ratings a group in score=[...]",
    ),
    (
        lambda: profile(score=["score", "level"]),
        "group='cohort': goes with one column of ratings; leave it out, or name one score=",
    ),
    (
        lambda: profile(agreed().assign(score=["7", "6-7", "5", "2", "2", "x"])),
        "score='score': holds '6-7', which is no rating (rows 1, 5); write 3, or 2/3 for between 2 and 3",
    ),
    (
        lambda: profile(composite="raise"),
        "composite='raise': '2/3' stands between two values (row 3); composite='midpoint' reads 2/3 as 2.5",
    ),
    (
        lambda: profile(composite="mean"),
        "composite='mean': unknown option; there are 'midpoint', 'lower', 'upper', 'raise'",
    ),
    (lambda: profile(scale=(1, 6)), "score='score': 7 is not from 1 to 6 (row 0); mend it, or say scale="),
    (
        lambda: profile(agreed().assign(item=["x", "x", "z"] * 2)),
        "item='item': rated before in the same group in rows 1, 4; give one value per item and group; of several "
        "raters' scores, see icc first",
    ),
    (lambda: profile(reference="befor"), "reference='befor': no group has this name; did you mean 'before'?"),
    (lambda: exposed(3, level="tem"), "level='tem': no such level; did you mean 'team'?"),
    (
        lambda: exposed(3),
        "group='site': 'site 9' was not rated; did you mean 'site 2'?",
    ),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[m.split("\n")[0][:60] for _, m in MISTAKES])
def test_the_message_says_what_is_wrong_and_what_to_do(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        call()
    assert str(raised.value) == message
