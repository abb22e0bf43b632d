"""A survival analysis in sentences: the answer, what the data cannot say, and what pictures show."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats.batch.comparison_answers import fixed, joined
from implstats.batch.survival_answers import Model, SurvivalAnswers, short
from implstats.survival import RMST
from implstats.survival.groups import entry_in_words, follow_up_in_words
from implstats.survival.hazard_words import FEW_EVENTS, bases

__all__ = ["Words", "percent", "ratio"]

Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Words:
    """Sentences about a survival analysis."""

    found: SurvivalAnswers

    @property
    def rows(self) -> str:
        """What a row is, in the plural."""
        return self.found.word("rows", "rows")

    @property
    def still(self) -> str:
        """What those are whom the event has not happened to."""
        return self.found.word("still", "without the event")

    def happened(self, cause: Any = None) -> str:
        """Return what happened, as a verb: stopped."""
        if cause is None:
            only = self.found.word(self.found.checked.spells.causes[0], "had the event")
            return self.found.word("event", only)
        return self.found.word(cause, f"ended as {self.found.plan.label(cause)}")

    def per(self) -> str | None:
        """Return what a unit of time at risk is called: programme-year; nothing where the plan has no words for it."""
        rows, unit = self.found.word("rows", ""), self.found.checked.unit
        return f"{rows[:-1]}-{unit[:-1]}" if rows.endswith("s") and " " not in rows + unit else None

    # The answer -------------------------------------------------------------------------------------------------------

    def answer(self) -> list[str]:
        """Return how many, what share at the asked times, how long on average, and how groups and terms compare."""
        said = [self._counts(), *self._shares(), *self._means()]
        for cause in self.found.checked.causes:
            said += [*self._groups(cause), *self._terms(cause)]
        return said + [f"There is no {what}: {why}." for what, why in self.found.errors.items()]

    def _counts(self) -> str:
        found, (ends, once) = self.found, self.found.ends()
        spells = found.checked.spells
        whom = self.rows if once else f"rows of {len(spells.persons)} {self.found.word('rows', f'{found.asked.id}s')}"
        sizes = ends.groupby("group").size()
        private, parts, left = found.plan.privacy, [], int((ends["end"] == 0).sum())
        for k, cause in enumerate(spells.causes, start=1):
            own = ends.loc[ends["end"] == k, "group"]
            counts = [int((own == g).sum()) for g in range(len(spells.groups))]
            named = zip(spells.groups, counts, strict=True)
            each = [f"{n} of {sizes[g]} in {found.group(v)}" for g, (v, n) in enumerate(named)]
            # All groups but one would give that one away.
            told = found.asked.by and not any(map(private.is_few, [*counts, *sizes, left]))
            shown = f" ({', '.join(each)})" if told else ""
            parts.append(f"{private.few(len(own))} {self.happened(cause if found.checked.several else None)}{shown}")
        every = "all" if private.is_few(left) else len(ends)
        return f"Of {every} {whom}, {joined(parts)}; {self._others(ends['end'])}."

    def _others(self, ends: pd.Series) -> str:
        """Return how many have had nothing yet; not where that would give away how few have had something."""
        counts, left, private = ends[ends > 0].value_counts(), int((ends == 0).sum()), self.found.plan.privacy
        if left and any(map(private.is_few, counts)):
            return "the others had not when last seen"
        if private.is_few(left):
            return f"{private.few(left)} had not when last seen"
        rest = {0: "none was left", 1: "the other one had not when last seen"}
        return rest.get(left, f"the other {left} had not when last seen")

    def _shares(self) -> list[str]:
        """Return a sentence for every asked time, and every cause where there are several."""
        found, said = self.found, []
        table = found.shares()
        for t in found.asked.at:
            for cause in found.checked.all_causes:
                rows = table[(table["time"] == t) & (True if cause is None else table["cause"] == cause)]
                seen = [row for row in rows.to_dict("records") if not np.isnan(row["estimate"])]
                parts = [self._share(row, first=row is seen[0]) for row in seen]
                if parts and cause is None:
                    said.append(f"After {found.span(t)}, {joined(parts)} were {self.still}.")
                elif parts:
                    said.append(f"Within {found.span(t)}, {joined(parts)} {self.happened(cause)}.")
            short = [found.group(g.label) for g in found.groups if g.last < t]
            if short and found.asked.by is not None:
                said.append(f"Nothing can be said of {joined(short)} after {found.span(t)}: the follow-up is shorter.")
        return said

    def _share(self, row: Row, *, first: bool) -> str:
        whom = f" of {self.rows}" if first else ""
        where = f" in {self.found.group(row['group'])}" if self.found.asked.by else ""
        ends = ""
        if 0 < row["estimate"] < 1 and not np.isnan(row["conf_low"]):
            ends = f" ({self._interval(percent(row['conf_low']), percent(row['conf_high']))})"
        return f"{percent(row['estimate'])}{whom}{where}{ends}"

    def _means(self) -> list[str]:
        found = self.found
        if found.rmst is None:
            return []
        unit = found.checked.unit
        table = found.rmst.tidy()
        means = table[table["quantity"] == "rmst"].to_dict("records")
        parts = []
        for row in means:
            where = f" in {found.group(row['group'])}" if found.asked.by else ""
            # A group without an event has no spread, which is not to be read as certainty.
            ends = f" ({self._times(row)})" if row["std_error"] > 0 else ""
            parts.append(f"{self._time(row['estimate'])}{where}{ends}")
        over = found.span(float(fixed(found.rmst.tau, found.decimals)))
        head = f"Of the first {over}, {self.rows} were {self.still} for {joined(parts)} on average"
        gaps = [
            f"{found.group(row['group'])} minus {found.group(row['reference'])}: {self._time(row['estimate'])} {unit} "
            f"({self._times(row)})"
            for row in table[table["quantity"] == "difference"].to_dict("records")
        ]
        return [f"{head}; {'; '.join(gaps)}." if gaps else f"{head}."]

    def _time(self, value: float) -> str:
        return fixed(value, self.found.decimals)

    def _times(self, row: Row) -> str:
        return self._interval(self._time(row["conf_low"]), self._time(row["conf_high"]))

    def _interval(self, low: str, high: str) -> str:
        return f"{self.found.level} interval {low} to {high}"

    # Ratios -----------------------------------------------------------------------------------------------------------

    def _groups(self, cause: Any) -> list[str]:
        """Return a sentence for every group beside the reference: its rate, alone and with other terms held equal."""
        parts: dict[str, list[str]] = {}
        rows: dict[str, list[Row]] = {}
        for model in self.found.models_of(cause):
            terms = {row["term"]: row for row in model.rows}
            for term, level in model.levels(self.found.asked.by).items():
                row, held = terms[term], self._held(model)
                times = f"{ratio(row['estimate'])} times"
                if level not in parts:
                    reference = self._level(row["reference"])
                    times = f"{self.happened(cause)} at {times} the rate of those in {reference}{held}"
                else:
                    times = f"{held.removeprefix(', ')}, at {times}"
                parts.setdefault(level, []).append(f"{times} ({self._ratios(row)})")
                rows.setdefault(level, []).append(row)
        whom = f"Among {self.rows} {self.still}"
        return [
            f"{whom}, those in {self._level(level)} {'; '.join(said)}. {_verdict(rows[level])}".strip()
            for level, said in parts.items()
        ]

    def _held(self, model: Model) -> str:
        """Return which other terms a ratio holds equal."""
        others = dict.fromkeys(base for base in bases(model.cox.terms).values())
        names = [
            self._column(base) for base in others if base not in (self.found.asked.by, f"C({self.found.asked.by})")
        ]
        if not names:
            return ""
        held = f"the other {len(names)} terms" if len(names) > 3 else joined(names)
        return f", with {held} held equal"

    def _terms(self, cause: Any) -> list[str]:
        """Return what the other terms of the fullest model go with."""
        models = self.found.models_of(cause)
        if not models or self.found.asked.terms is None:
            return []
        model = models[-1]
        own = model.levels(self.found.asked.by)
        rows = [r for r in model.rows if r["term"] not in own]
        clear = [
            f"{ratio(r['estimate'])} times the rate for {self.term(r)} ({self._ratios(r)})"
            for r in rows
            if not _open(r)
        ]
        vague = [self.term(r) for r in rows if _open(r)]
        said = []
        if clear:
            held = "With all other terms held equal, " if len(model.cox.terms) > 1 else ""
            said.append(_upper(f"{held}{self.rows} {self.still} {self.happened(model.cause)} at {joined(clear)}."))
        if vague:
            hold = "interval holds" if len(vague) == 1 else "intervals hold"
            rate = "rate" if model.cause is None else f'rate of "{self.found.plan.label(model.cause)}"'
            said.append(f"The {hold} 1 for {joined(vague)}: these data do not tell which way the {rate} goes.")
        if any(":" in base for base in bases(model.cox.terms).values()):
            said.append(
                "The ratio of a term that stands in a product holds where the other term is 0, or its reference."
            )
        return said

    def term(self, row: Row) -> str:
        """Return a term as people read it: each unit more of support, training on-site against off-site."""
        name = str(row["term"])
        base = bases([name])[name]
        if ":" in base:
            return self._column(name)
        if base == name:
            return f"each unit more of {self._column(name)}"
        return f"{self._column(base)} {self._level(name[len(base) + 1 : -1])} against {self._level(row['reference'])}"

    def _column(self, name: str) -> str:
        from implstats.plot.forest import term_words

        plain = name[2:-1] if name.startswith("C(") else name
        words = " ".join(term_words(plain, self.found.labels).split())
        return short(words)

    def _level(self, label: Any) -> str:
        groups = {str(g.label): g.label for g in self.found.groups}
        return self.found.group(groups[str(label)]) if str(label) in groups else self.found.plan.label(label)

    def _ratios(self, row: Row) -> str:
        return self._interval(ratio(row["conf_low"]), ratio(row["conf_high"]))

    # What the data cannot say -----------------------------------------------------------------------------------------

    def cautions(self) -> list[str]:
        """Return what these data, of all, make uncertain."""
        return [*self._few(), *self._clusters(), *self._follow_up()]

    def limits(self) -> list[str]:
        """Return what these data and this design cannot say."""
        found, said = self.found, self.cautions()
        said.append(
            f"{_upper(self.rows)} that were last seen {self.still} are taken for no different from those that were "
            "followed on. If those in difficulties are lost from sight sooner, the truth is worse than what is shown."
        )
        if found.models:
            said.append(
                "A ratio of rates that changes over time is an average over the time that was seen; what can be seen "
                "of such a change stands under the check of the model."
            )
            said.append(
                "Unless chance decided who is in which group or has which values, a difference may come from whatever "
                "goes with them, and was not measured."
            )
        if found.checked.several:
            said.append(
                "A rate compares those that are still at risk. What share a cause ends by some time also depends on "
                "the other causes: for that look at the shares, not at the ratios of rates."
            )
        if found.rmst is not None:
            said += self._without_events(found.rmst)
            said.append(f"Mean times say nothing of what comes after {found.span(float(self._time(found.rmst.tau)))}.")
        notes = [*entry_in_words(found.checked.spells, self._labelled()), *found.checked.modelled.notes]
        return said + [f"{_upper(note)}." for note in notes]

    def _without_events(self, means: RMST) -> list[str]:
        table = means.tidy()
        none = table.loc[(table["quantity"] == "rmst") & (table["std_error"] == 0), "group"]
        names = joined([self.found.group(label) for label in none])
        if not names:
            return []
        return [
            f"In {names} the event was not seen by then, so that its mean time has no interval, and intervals of "
            "differences from it are too narrow: that none was seen does not say that none can be."
        ]

    def _few(self) -> list[str]:
        said = []
        for model in self.found.models:
            events, p = model.cox.events, len(model.cox.terms)
            if events >= FEW_EVENTS * p:
                continue
            each = "" if self.found.plan.privacy.is_few(events) else f", {events / p:.2g} each"
            parameters = f"{p} parameter{'s' * (p > 1)}{each}"
            line = f"The {self.name(model)} rests on {self.found.plan.privacy.few(events)} events for {parameters}"
            if model.cox.penalty == "firth":
                said.append(
                    f"{line}: below {FEW_EVENTS} it is uncertain; Firth's penalty lessens its bias away from 1."
                )
            else:
                other = next((k for k in ("cluster", "frailty") if getattr(self.found.asked, k) is not None), None)
                how = 'penalty = "firth"' + (f" in place of {other}" if other else "")
                said.append(
                    f"{line}: below {FEW_EVENTS}, ratios tend to lie too far from 1 and intervals are too narrow. "
                    f"Firth's penalty lessens that ({how} in the plan)."
                )
        return said

    def _clusters(self) -> list[str]:
        asked, k = self.found.asked, len(self.found.checked.modelled.clusters)
        column = asked.cluster or asked.frailty
        if column is None:
            return [
                f"{_upper(self.rows)} are taken to be independent of each other. If some share an organisation or a "
                "place, intervals are too narrow; name its column as cluster."
            ]
        name = self.found.plan.label(column)
        said = [
            f"Shares and their comparisons take {self.rows} of one {name} for independent; if they are alike, these "
            "intervals are too narrow."
        ]
        if asked.cluster is not None and self.found.models and k <= _check.FEW_CLUSTERS:
            few = f"Intervals of ratios rest on {k} groups of {self.rows} ({name})"
            said.append(f"{few}: with {_check.FEW_CLUSTERS} or fewer they tend to come out too narrow.")
        return said

    def _follow_up(self) -> list[str]:
        # Of rows that are cut at a change, ends are no censoring.
        if self.found.split or not any(g.cut_short for g in self.found.groups):
            return []
        least = self.found.plan.privacy.min_count
        return [f"{_upper(line)}." for line in follow_up_in_words(self._labelled(), least)]

    def _labelled(self) -> list[Any]:
        return [replace(g, name=self.found.group(g.label)) for g in self.found.groups]

    def name(self, model: Model) -> str:
        """Return what a sentence calls a model."""
        of = "" if model.cause is None else f" of {self.found.plan.label(model.cause)}"
        return f"{model.kind} Cox model{of}"

    # Pictures ---------------------------------------------------------------------------------------------------------

    def of_curves(self) -> str:
        """Return what the picture of curves or incidences shows, for readers who cannot see it."""
        by = f" by {self.found.plan.label(self.found.asked.by)}" if self.found.asked.by else ""
        what = "Share without the event" if not self.found.checked.several else "Share ended by each cause"
        over = self.found.plan.label(self.found.asked.duration)
        return (
            f"{what} over {over}{by}, with {self.found.level} intervals and numbers at risk. {' '.join(self._shares())}"
        )

    def of_rates(self, cause: Any) -> str:
        """Return what the picture of rates shows."""
        table = self.found.risks[cause].rates(level=self.found.asked.level)
        parts = []
        for label, rows in table[table["exposure"] > 0].groupby("group", sort=False, observed=True):
            top = rows.sort_values("estimate").iloc[-1]
            where = f" in {self.found.group(label)}" if self.found.asked.by else ""
            start, end = (self._time(top[c]) for c in ("start", "end"))
            parts.append(f"highest{where} between {start} and {end} {self.found.checked.unit}, {top['estimate']:.2g}")
        per = self.per() or "unit of time at risk"
        of = "" if cause is None else f" of {self.found.plan.label(cause)}"
        return f"Events{of} per {per} in each stretch of time, with {self.found.level} intervals: {'; '.join(parts)}."

    def of_ratios(self, cause: Any) -> str:
        """Return what the forest of ratios shows."""
        models = self.found.models_of(cause)
        rows = models[-1].rows
        parts = [
            f"{self.term(r)} {ratio(r['estimate'])} ({ratio(r['conf_low'])} to {ratio(r['conf_high'])})" for r in rows
        ]
        kinds = joined([m.kind for m in models])
        return f"Hazard ratios with {self.found.level} intervals, {kinds}; {models[-1].kind}: {'; '.join(parts)}."

    def of_check(self, cause: Any) -> str:
        """Return what the picture of scaled Schoenfeld residuals shows."""
        model = self.found.models_of(cause)[-1]
        return (
            f"Log hazard ratio of each term of the {self.name(model)} over time: one point an event, a smooth line "
            "with its interval, and the constant that the model assumes."
        )


def percent(share: float) -> str:
    """Write a share as a percentage; near 0 and 1 with a decimal."""
    written = fixed(100 * share, 0 if 0.01 <= share <= 0.99 else 1).removesuffix(".0")
    return f"{written} %"


def ratio(value: float) -> str:
    """Write a ratio with two decimals, or two digits where it is small or large."""
    return fixed(value, 2) if 0.1 <= value < 10 else f"{value:.2g}"


def _open(row: Row) -> bool:
    """Return whether the interval of a ratio holds 1."""
    return bool(row["conf_low"] <= 1 <= row["conf_high"])


def _verdict(rows: Sequence[Row]) -> str:
    """Return what is to be said of ratios whose intervals hold 1."""
    if not any(map(_open, rows)):
        return ""
    which = "The interval holds" if len(rows) == 1 else "Both intervals hold" if all(map(_open, rows)) else ""
    if not which:
        return "One of the intervals holds 1, the other does not."
    return f"{which} 1: these data do not tell which rate is higher."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
