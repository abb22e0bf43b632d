"""What a model says beside its effects: what a point of a score changes, and what a change of circumstances did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from implstats.batch.blocks import Block, Table, Text
from implstats.batch.comparison_answers import Answers, fixed, places, short_p

__all__ = ["CONTENTS", "beside"]

CONTENTS = {
    "moderation": "what a point of each score changes in the change since the baseline",
    "interruption": "level and slope that begin with the change of circumstances",
}
OTHERWISE = "Those who differ in a score differ in other things as well: what goes with it need not come from it."
TOGETHER = "What else came at the same time as the change of circumstances is in its level and its slope too."
BY = {"per point": "per point", "per sd": "per SD", "difference": "less the first level"}
OF = {"level": "step at the change (level)", "slope": "change of course since, per unit of time (slope)"}
MORE_DECIMALS = 2


def beside(answers: Answers, outcome: str) -> list[Block]:
    """Return the tables of an outcome's scores and change of circumstances, where the plan asks for them."""
    found, label = answers.tables[outcome], answers.plan.label
    unit = f"in points of {label(outcome)}, with {answers.level} intervals"
    made: list[Block] = []
    if "moderation" in found:
        rows = [_of_score(answers, outcome, row) for row in found["moderation"].to_dict("records")]
        head = f"How the change since the start depends on scores, {unit}"
        made += [Text(f"{head}. {OTHERWISE}"), Table(rows, f"{label(outcome)}: {head[0].lower()}{head[1:]}")]
    if "interruption" in found:
        rows = [_of_change(answers, outcome, row) for row in found["interruption"].to_dict("records")]
        head = f"What began with the change of circumstances, within patients, {unit}"
        made += [Text(f"{head}. {TOGETHER}"), Table(rows, f"{label(outcome)}: {head[0].lower()}{head[1:]}")]
    return made


def _of_score(answers: Answers, outcome: str, row: Mapping[Any, Any]) -> dict[str, object]:
    beyond = " (extrapolated)" if row["extrapolated"] else ""
    place = {"Score": answers.plan.label(row["moderator"]), "By": BY[row["quantity"]]}
    return place | {"At": answers.when(row["time"]) + beyond} | _numbers(answers, outcome, row)


def _of_change(answers: Answers, outcome: str, row: Mapping[Any, Any]) -> dict[str, object]:
    return {"Of": OF[row["quantity"]]} | _numbers(answers, outcome, row)


def _numbers(answers: Answers, outcome: str, row: Mapping[Any, Any]) -> dict[str, object]:
    """Return estimate and interval with more decimals than means have: a point of a score may be a small one."""
    decimals = places(answers.rows(outcome)[0]["sd"]) + MORE_DECIMALS
    low, high = (fixed(row[end], decimals) for end in ("conf_low", "conf_high"))
    return {"Difference": f"{fixed(row['estimate'], decimals)} [{low}, {high}]", "p": short_p(row["p_value"])}
