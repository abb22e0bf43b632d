"""What was looked at and seen of a comparison's assumptions, and how far its answers rest on what cannot be seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from implstats.batch.blocks import Block, Heading, Items, Table, Text
from implstats.batch.comparison_answers import Answers, fixed, places, with_interval
from implstats.errors import DataError, ImplstatsError
from implstats.growth import MixedResult, MMRMResult, diagnose
from implstats.sensitivity import e_value, natural_change, tipping_point

__all__ = ["CHECKED", "CONTENTS", "UNSEEN", "Doubts"]

CHECKED = "Singer, Rocha and Nobre 2017, residuals of mixed models: doi 10.1111/insr.12178"
UNSEEN = "VanderWeele and Ding 2017, E-values: doi 10.7326/M16-2607"
CONTENTS = {
    "readings": "what was looked at in the residuals of each model, and what was seen",
    "natural_change": "improvement retained, if some improvement came without treatment",
    "tipping_point": "difference in change, had patients who left done worse than those like them who stayed",
    "e_values": "how strong something unmeasured would have to be to explain the difference away",
}
# What is assumed, in SDs of the outcome: small, middling, and large beside the improvements of treatments.
NATURAL = (0.0, 0.1, 0.2, 0.3)
WORSE = (0.0, 0.25, 0.5, 1.0)
IMPUTATIONS = 20
ALL, REFERENCE = "all cohorts", "reference"

Row = Mapping[Hashable, Any]


@dataclass(frozen=True, eq=False)
class Doubts:
    """What was looked at in a comparison, and what follows if its assumptions do not hold.

    Attributes
    ----------
    answers : Answers
    """

    answers: Answers

    @cached_property
    def readings(self) -> pd.DataFrame:
        """What was looked at in the residuals of every model, one row a number; nobody is named."""
        if self.answers.asked.analysis.patient_weights is not None:
            return pd.DataFrame({"outcome": []})
        parts = []
        for name, fit in self.answers.study.fits.items():
            assert isinstance(fit, MixedResult | MMRMResult)
            table = diagnose(fit, influence=False).tidy()
            furthest = table["quantity"] == "largest"
            table.loc[furthest, "reading"] = [
                f"the residual furthest from what is expected is {abs(seen):.1f} SDs from it; of {n} normal values one "
                f"lies beyond {bar:.1f} in one of 20 samples"
                for seen, n, bar in table.loc[furthest, ["statistic", "n", "threshold"]].itertuples(index=False)
            ]
            table.insert(0, "outcome", name)
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def _tried(self) -> dict[str, pd.DataFrame | str]:
        asked: dict[str, Callable[[], pd.DataFrame]] = {
            "natural_change": self._natural,
            "tipping_point": lambda: _together(self._tips),
            "e_values": self._unmeasured,
        }
        return {name: _or_reason(compute) for name, compute in asked.items()}

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table at full precision, by its file's name."""
        found = {name: table for name, table in self._tried.items() if isinstance(table, pd.DataFrame) and len(table)}
        return ({"readings": self.readings} if len(self.readings) else {}) | found

    def _natural(self) -> pd.DataFrame:
        study = self.answers.study
        return natural_change(study, over=list(NATURAL), at=max(study.at), level=study.level).tidy()

    @cached_property
    def _tips(self) -> dict[tuple[str, str], pd.DataFrame | str]:
        """The difference in change at the last time, by outcome and by whose visits after drop-out are made worse."""
        fits = {name: fit for name, fit in self.answers.study.fits.items() if isinstance(fit, MMRMResult)}
        whom = {ALL: None, REFERENCE: self.answers.study.reference}
        return {
            (name, group): _or_reason(partial(self._tipped, name, fit, group, worse))
            for name, fit in fits.items()
            for group, worse in whom.items()
        }

    def _tipped(self, name: str, fit: MMRMResult, group: str, worse: Any) -> pd.DataFrame:
        study = self.answers.study
        sd = float(fit.effect_sizes([max(study.at)], sd="baseline", df="normal").tidy()["sd"].iloc[0])
        found = tipping_point(
            fit,
            at=max(study.at),
            deltas=[sd * worth for worth in WORSE],
            worse=worse,
            imputations=IMPUTATIONS,
            level=study.level,
            rng=self.answers.asked.analysis.seed,
        ).tidy()
        found = found[found["quantity"] == "difference"].reset_index(drop=True)
        found.insert(0, "outcome", name)
        found.insert(1, "group", group)
        return found

    def _unmeasured(self) -> pd.DataFrame:
        last, made = max(self.answers.study.at), []
        for row in self.answers.rows():
            if row["time"] == last:
                ends = {"lower": row["d_difference_low"], "upper": row["d_difference_high"]}
                table = e_value(row["d_difference"], **ends, kind="d").tidy()
                labels = {key: row[key] for key in ("outcome", "time", "cohort", "reference")}
                made.append(pd.DataFrame([labels]).join(table))
        return pd.concat(made, ignore_index=True)

    # For the report ---------------------------------------------------------------------------------------------------

    def assumptions(self) -> list[Block]:
        """Return what was looked at, what was seen, and what cannot be looked at."""
        label, lines, tables = self.answers.plan.label, list[str](), list[Block]()
        if self.readings.empty:
            lines.append(
                "No number was compared with what is expected: residuals of weighted patients have no known spread."
            )
        for name, part in self.readings.groupby("outcome", sort=False):
            marked = [f"{row['kind']}, {row['quantity']}" for row in part[part["marked"]].to_dict("records")]
            which = f"are marked: {'; '.join(marked)}" if marked else "none is marked, which does not prove the model"
            lines.append(f"{label(name)}: of {len(part)} things that were looked at, {which}.")
            tables.append(Table([_read(row) for row in part.to_dict("records")], f"{label(name)}: looked at and seen"))
        told = (
            "What cannot be looked at here: why visits were missed, whether patients influenced each other, and what "
            "else differed between the cohorts."
        )
        return [Heading("What was looked at, and what was seen", 3), Items(lines), *tables, Text(told)]

    def sensitivity(self) -> list[Block]:
        """Return what the answers would be under other assumptions."""
        shown = {"natural_change": self._if_natural, "tipping_point": self._if_worse, "e_values": self._if_unmeasured}
        made: list[Block] = [Heading("What if the assumptions do not hold?")]
        for name, write in shown.items():
            found = self._tried[name]
            if isinstance(found, str):
                made += [Heading(TITLES[name], 3), Text(f"This could not be computed: {found}")]
            elif len(found):
                made += [Heading(TITLES[name], 3), *write(found)]
        return made

    def _if_natural(self, table: pd.DataFrame) -> list[Block]:
        label, when = self.answers.plan.label, self.answers.when(max(self.answers.study.at))
        told = (
            "No group went untreated. If untreated patients had improved as well, by as many SDs as the table assumes, "
            f"that much of both cohorts' improvement is not the treatment's, and of the rest this was kept at {when}:"
        )
        rows: list[dict[str, object]] = []
        for (outcome, cohort), part in table.groupby(["outcome", "cohort"], sort=False, observed=True):
            row: dict[str, object] = {"Outcome": label(outcome), "Cohort": label(cohort)}
            rows.append(row | {f"{r['natural']:g} SD": _share(r) for r in part.to_dict("records")})
        after = "These are assumptions to try, not estimates. Whether a cohort kept less does not depend on them."
        return [Text(told), Table(rows, "Improvement retained (%) under natural changes"), Text(after)]

    def _if_worse(self, table: pd.DataFrame) -> list[Block]:
        answers, label = self.answers, self.answers.plan.label
        told = (
            "Patients who left are represented by those like them who stayed. Had they done worse after leaving, by as "
            "many SDs as the table assumes, in all cohorts or in that of reference alone, the difference in change at "
            f"{answers.when(max(answers.study.at))} would be:"
        )
        whom = {ALL: "All cohorts worse", REFERENCE: f"Only {label(answers.study.reference)} worse"}
        rows: list[dict[str, object]] = []
        for (outcome, cohort, worth), part in table.groupby(
            ["outcome", "cohort", "delta_sd"], sort=False, observed=True
        ):
            decimals = places(answers.rows(str(outcome))[0]["sd"])
            row: dict[str, object] = {"Outcome": label(outcome), "Cohort": label(cohort), "Worse by": f"{worth:.3g} SD"}
            row |= dict.fromkeys(whom.values(), "")
            rows.append(row | {whom[r["group"]]: _ends(r, decimals) for r in part.to_dict("records")})
        after = (
            f"Differences in points of the scale, below zero where the cohort improved less; {IMPUTATIONS} imputations "
            f"under the MMRM, seed {answers.asked.analysis.seed}."
        )
        shown = Table(rows, "Difference in change (points) if those who left did worse")
        untried = [f"{label(k[0])}, {whom[k[1]]}: {why}." for k, why in self._tips.items() if isinstance(why, str)]
        return [Text(told), shown, Text(after), *([Items(untried)] if untried else [])]

    def _if_unmeasured(self, table: pd.DataFrame) -> list[Block]:
        label = self.answers.plan.label
        rows: list[dict[str, object]] = [
            {
                "Outcome": label(row["outcome"]),
                "Compared": f"{label(row['cohort'])} minus {label(row['reference'])}",
                "Difference in d": _ends(row, 2),
                "E-value": fixed(row["e_value"], 2),
                "its limit": fixed(row["e_value_limit"], 2),
            }
            for row in table.to_dict("records")
        ]
        told = (
            "E-value: the risk ratio by which something unmeasured would have to go with both the cohort and a good "
            "outcome to explain the difference away; its limit: the same for the end of the interval nearer to 0 (1 "
            "where the interval holds 0). It says how strong that would have to be, not whether it is there."
        )
        return [
            Text(told),
            Table(rows, f"E-values of the differences at {self.answers.when(max(self.answers.study.at))}"),
        ]


TITLES = {
    "natural_change": "Change that would have come without treatment",
    "tipping_point": "Patients who left",
    "e_values": "What was not measured",
}


def _or_reason(compute: Callable[[], pd.DataFrame]) -> pd.DataFrame | str:
    try:
        return compute()
    except ImplstatsError as error:
        return str(error)


def _together(parts: Mapping[tuple[str, str], pd.DataFrame | str]) -> pd.DataFrame:
    """Return the tables as one; if there is none of those that were tried, the reasons are the error."""
    tables = [part for part in parts.values() if isinstance(part, pd.DataFrame)]
    if parts and not tables:
        raise DataError("; ".join(dict.fromkeys(map(str, parts.values()))))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _read(row: Row) -> dict[str, object]:
    side = "below" if row["quantity"] == "quantile correlation" else "beyond"
    return {
        "Looked at": f"{row['kind']}: {row['quantity']}",
        "Seen": fixed(row["statistic"], 2),
        "Marked": f"{side} {fixed(row['threshold'], 2)}",
        "What it says": row["reading"],
    }


def _share(row: Row) -> str:
    if row["set"] == "none":
        return "no improvement is left to share"
    if row["set"] != "bounded":
        return "cannot be named"
    value, low, high = (fixed(100 * row[k], 0) for k in ("estimate", "conf_low", "conf_high"))
    return f"{value} % [{low} %, {high} %]"


def _ends(row: Row, decimals: int) -> str:
    named = {"": row["estimate"], "_low": row["conf_low"], "_high": row["conf_high"]}
    return with_interval(named, "", decimals)
