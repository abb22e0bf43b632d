"""The report of a survival analysis: its answer, tables and pictures, and who was analysed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from implstats.batch.blocks import Block, Equations, Heading, Items, Table, Text
from implstats.batch.comparison_answers import fixed, short_p
from implstats.batch.part import Figure, Piece, drawn, pictures
from implstats.batch.survival_answers import Model, SurvivalAnswers
from implstats.batch.survival_methods import equations, methods, sources
from implstats.batch.survival_words import Words, percent, ratio

__all__ = ["piece"]

Row = dict[str, object]

GIVEN = "Rows in the file"
CONTENTS = {
    "shares": "share at the asked times, who was at risk, and what had been seen by then",
    "curves": "share without the event at every time of the data",
    "incidence": "share ended by each cause at every time of the data",
    "medians": "when half have had the event",
    "rmst": "mean time up to a common end, its difference and ratio between groups",
    "logrank": "the log-rank test",
    "gray": "Gray's test of each cause",
    "rates": "events per time at risk in each stretch of time",
    "hazard_ratios": "hazard ratios of every model, with E-values",
    "coefficients": "the same on the scale of logarithms",
    "proportional_hazards": "whether hazard ratios change over time",
    "models": "counts, likelihoods and concordance of every model",
    "fine_gray": "ratios of the subdistribution hazard",
}
CHECK = (
    "A small p speaks for a ratio that changes over time; a large one says that these events do not show a change, not "
    "that there is none. The picture shows its form."
)


def piece(found: SurvivalAnswers, figures: Sequence[Figure]) -> Piece:
    """Return what the report says of a survival analysis."""
    words = Words(found)
    main = found.file_of("survival" if found.curves is not None else "incidence")
    answer: list[Block] = [Items(words.answer()), *pictures(figures, main)]
    body: list[Block] = [Heading(found.asked.name), *_shares(found), *_means(found), *_tests(found)]
    for cause in found.checked.causes:
        body += _cause(found, words, cause, figures)
    body += [*_more(found, figures), *_sample(found)]
    tables = found.tables()
    files = [(f"{found.file}_{kind}.csv", what) for kind, what in CONTENTS.items() if kind in tables]
    files += [(f"{found.file}.json", "all results, for programs"), *drawn(figures)]
    how: list[Block] = [Text(methods(found)), *map(Text, found.plan.privacy.in_words()), Equations(equations(found))]
    return Piece(found.asked.name, answer, words.limits(), body, how, files, sources(found), "survival")


def _shares(found: SurvivalAnswers) -> list[Block]:
    """Return one row a time, cause and group: who was at risk, what had been, and the share."""
    made: list[Row] = []
    what = "Share without the event" if not found.checked.several else "Share ended by it"
    order = ["time", "cause"] if found.checked.several else ["time"]
    for row in found.shares().sort_values(order, kind="stable").to_dict("records"):
        line: Row = {"After": found.span(row["time"])}
        if found.checked.several:
            line["Cause"] = found.plan.label(row["cause"])
        if found.asked.by is not None:
            line[found.plan.label(found.asked.by)] = found.plan.label(row["group"])
        line |= {"At risk": _count(row["at_risk"]), "Events so far": _count(row["cumulative_events"])}
        made.append(line | {what: _share(row)})
    told = f"At risk: those who were still followed just before that time. In brackets: {found.level} intervals."
    caption = f"{what} at the asked times (%), and what it rests on (counts)"
    counts, least = ("At risk", "Events so far"), found.plan.privacy.min_count
    return [Heading("Shares over time", 3), Table(made, caption, people=counts, least=least), Text(told)]


def _count(value: float) -> object:
    return int(value) if float(value).is_integer() else fixed(value, 1)


def _share(row: Mapping[Hashable, Any]) -> str:
    if np.isnan(row["estimate"]):
        return "not followed so long"
    if np.isnan(row["conf_low"]):
        return percent(row["estimate"])
    return f"{percent(row['estimate'])} [{percent(row['conf_low'])}, {percent(row['conf_high'])}]"


def _means(found: SurvivalAnswers) -> list[Block]:
    """Return one row a group: the mean time, its difference from the reference, and when half have had the event."""
    if found.curves is None:
        return []
    table = found.rmst.tidy() if found.rmst is not None else None
    half = {row["group"]: row for row in found.curves.quantile().to_dict("records")}
    made: list[Row] = []
    for group in found.groups:
        line: Row = {} if found.asked.by is None else {found.plan.label(found.asked.by): found.plan.label(group.label)}
        if table is not None:
            own = {row["quantity"]: row for row in table[table["group"] == group.label].to_dict("records")}
            line["Mean time"] = _time(found, own["rmst"])
            if found.asked.by is not None:
                line["Difference"] = _time(found, own["difference"]) if "difference" in own else "reference"
        line["Half have had the event by"] = _time(found, half[group.label])
        if not found.split:
            followed = group.median_follow_up
            line["Half were followed for"] = "longer" if np.isnan(followed) else fixed(followed, found.decimals)
        made.append(line)
    over = "" if found.rmst is None else f"Mean time up to {found.span(float(fixed(found.rmst.tau, found.decimals)))}. "
    told = f"{over}Times count {found.checked.unit}. In brackets: {found.level} intervals."
    caption = f"Mean and median times ({found.checked.unit})"
    return [Heading("Mean and median times", 3), Table(made, caption), Text(told)]


def _time(found: SurvivalAnswers, row: Mapping[Hashable, Any]) -> str:
    """Write a time with its interval; a curve that does not come so low has none."""
    value, low, high = (
        "not reached" if np.isnan(row[k]) else fixed(row[k], found.decimals)
        for k in ("estimate", "conf_low", "conf_high")
    )
    return value if value == low == high else f"{value} [{low}, {high}]"


def _tests(found: SurvivalAnswers) -> list[Block]:
    """Return the tests of groups, in a sentence each."""
    if found.asked.by is None:
        return []
    if found.logrank is not None:
        test = found.logrank
        told = f"{test.test[0].upper()}{test.test[1:]} of {found.plan.label(found.asked.by)}: "
        return [Text(f"{told}chi-square {test.statistic:.2f} on {test.df} df, p {short_p(test.p_value)}.")]
    if found.gray is not None:
        parts = [
            f"{found.plan.label(row['cause'])}, chi-square {row['statistic']:.2f} on {row['df']} df, "
            f"p {short_p(row['p_value'])}"
            for row in found.gray.tidy().to_dict("records")
        ]
        by = found.plan.label(found.asked.by)
        return [Text(f"Gray's test of {by}, a cause at a time: {'; '.join(parts)}. P-values are not corrected.")]
    if not found.checked.untested:
        return []  # why there is none stands in the answer
    name = "Gray's test" if found.checked.several else "The log-rank test"
    why = f"a version for {found.checked.untested} is not known here"
    return [Text(f"{name} of groups is not given: {why}.")]


def _cause(found: SurvivalAnswers, words: Words, cause: Any, figures: Sequence[Figure]) -> list[Block]:
    """Return when the risk is highest, and the models."""
    of = "" if cause is None else f" ({found.plan.label(cause)})"
    body: list[Block] = [Heading(f"When the risk is highest{of}", 3), *pictures(figures, found.file_of("rates", cause))]
    models = found.models_of(cause)
    if not models:
        return body
    body += [Heading(f"What goes with it{of}", 3), *pictures(figures, found.file_of("ratios", cause))]
    body += [*_ratios(found, words, models), *_fine_gray(found, words, models[-1])]
    body += [Heading(f"Do hazard ratios change over time?{of}", 3), *_check_of(found, words, models[-1])]
    return [*body, *pictures(figures, found.file_of("check", cause))]


def _more(found: SurvivalAnswers, figures: Sequence[Figure]) -> list[Block]:
    """Return the pictures that are drawn if all are asked for."""
    shown = [figure for kind in ("stacked", "log_log") for figure in pictures(figures, found.file_of(kind))]
    return [Heading("Other pictures", 3), *shown] if shown else []


def _ratios(found: SurvivalAnswers, words: Words, models: Sequence[Model]) -> list[Block]:
    """Return the ratios of all models of a cause side by side, and what they rest on."""
    made: dict[str, Row] = {}
    columns = ["Term", *(f"Hazard ratio, {model.kind}" for model in models), "p", "E-value", "its limit"]
    # The fullest model's terms come first, and others' that it does not have after them.
    for model in reversed(models):
        for row in model.rows:
            empty: Row = {**dict.fromkeys(columns, ""), "Term": words.term(row)}
            line = made.setdefault(words.term(row), empty)
            line[f"Hazard ratio, {model.kind}"] = _with_ends(row)
            if model is models[-1]:
                line |= {"p": short_p(row["p_value"]), "E-value": fixed(row["e_value"], 2)}
                line["its limit"] = fixed(row["e_value_limit"], 2)
    told = (
        f"In brackets: {found.level} intervals. p and E-value: of the {models[-1].kind} model. E-value: the risk ratio "
        "by which something unmeasured would have to go with both the term and the event to explain the ratio away; "
        "its limit: the same for the end of the interval nearer to 1."
    )
    return [
        Table(list(made.values()), "Hazard ratios of each term, alone and with the others held equal"),
        Text(told),
        Items([_rests_on(found, words, m) for m in models]),
    ]


def _rests_on(found: SurvivalAnswers, words: Words, model: Model) -> str:
    cox, glance = model.cox, model.cox.glance().iloc[0]
    k, name = len(cox.terms), words.name(model)
    events, few = found.plan.privacy.few(cox.events), found.plan.privacy.is_few(cox.events)
    line = f"{name[0].upper()}{name[1:]}: {events} events in {len(cox.happened)} rows, {k} parameter{'s' * (k > 1)}"
    line += "" if few else f", {glance['events_per_parameter']:.3g} events for each"
    line += f"; concordance {glance['concordance']:.2f} (standard error {glance['concordance_se']:.2f})"
    if np.isfinite(cox.theta):
        group = found.plan.label(found.asked.frailty)
        line += f"; the hazard ratio that rows of one {group} share has variance {cox.theta:.3g}"
    return f"{line}."


def _fine_gray(found: SurvivalAnswers, words: Words, model: Model) -> list[Block]:
    """Return the ratios of the incidence."""
    if model.fine_gray is None:
        return []
    table = model.fine_gray.tidy(level=found.asked.level, hazard_ratio=True)
    rows: list[Row] = [
        {"Term": words.term(row), "Subdistribution hazard ratio": _with_ends(row), "p": short_p(row["p_value"])}
        for row in table.to_dict("records")
    ]
    told = (
        "Ratios that order the share ended by this cause by some time (Fine and Gray); for what acts on those still "
        "at risk, look at the hazard ratios above."
    )
    return [Text(told), Table(rows, "Subdistribution hazard ratios")]


def _with_ends(row: Mapping[Hashable, Any]) -> str:
    return f"{ratio(row['estimate'])} [{ratio(row['conf_low'])}, {ratio(row['conf_high'])}]"


def _check_of(found: SurvivalAnswers, words: Words, model: Model) -> list[Block]:
    """Return the tests of a change over time, or why there are none."""
    name = words.name(model)
    if model.check is None:
        return [Text(f"This cannot be checked for the {name}: {model.check_words}.")]
    rows: list[Row] = [
        {
            "Term": found.plan.label(row["term"]),
            "Chi-square": fixed(row["statistic"], 2),
            "df": row["df"],
            "p": short_p(row["p_value"]),
        }
        for row in model.check.tidy().to_dict("records")
    ]
    return [Text(f"Asked of the {name}. {model.check_words} {CHECK}"), Table(rows, "Tests of a change over time")]


def _sample(found: SurvivalAnswers) -> list[Block]:
    """Return the rows that were kept and dropped, for curves and for models."""
    samples = {"Curves" if found.curves is not None else "Incidences": found.checked.spells.sample}
    for model in found.models:
        samples[f"{model.kind.capitalize()} model"] = model.cox.sample
    reasons = dict.fromkeys(why for sample in samples.values() for why in sample.dropped)
    made: list[Row] = []
    for name, sample in samples.items():
        line: Row = {"Used for": name, GIVEN: sample.given}
        for why in reasons:
            line[f"Dropped: {found.plan.label(why.removesuffix(' missing'))} missing"] = sample.dropped.get(why, 0)
        made.append(line | {"Rows used": sample.rows})
    codes = found.checked.frame.attrs.get("implstats", {}).get("missing_codes", {})
    told = [f"{found.plan.label(c)} {found.plan.privacy.few(k)}" for c, k in codes.items() if k]
    more: list[Block] = (
        [Text(f"Codes for a missing value that were set to missing: {', '.join(told)}.")] if told else []
    )
    lost, least = [column for column in made[0] if column.startswith("Dropped: ")], found.plan.privacy.min_count
    table = Table(made, "Rows kept and dropped (counts)", people=lost, balance=[*lost, GIVEN], least=least)
    return [Heading("Who was analysed", 3), table, *more]
