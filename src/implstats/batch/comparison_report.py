"""The report of a comparison of cohorts: the answer, what the data cannot say, tables, pictures, how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from implstats import _check
from implstats.batch.blocks import Block, Equations, Heading, Items, Table, Text
from implstats.batch.comparison_answers import (
    CORRECTION,
    Answers,
    fixed,
    places,
    retained,
    short_p,
    shown_time,
    with_interval,
)
from implstats.batch.comparison_beside import CONTENTS as BESIDE
from implstats.batch.comparison_beside import beside
from implstats.batch.comparison_doubts import CHECKED, UNSEEN, Doubts
from implstats.batch.comparison_doubts import CONTENTS as IN_DOUBT
from implstats.batch.part import Figure, Piece, drawn, pictures
from implstats.growth import CohortModel
from implstats.study.choice import boundary_words

__all__ = ["piece"]

REFERENCES = (
    "Bales et al. 2017, the question and its design: doi 10.1002/pmh.1381",
    "Feingold 2009, effect sizes from growth models: doi 10.1037/a0014699",
    "Fieller 1954, the confidence set of a ratio: doi 10.1111/j.2517-6161.1954.tb00159.x",
)
DRAWS = "Efron and Tibshirani 1993, draws of patients: doi 10.1201/9780429246593"
FREEDOM = {
    "satterthwaite": "Kuznetsova et al. 2017, degrees of freedom: doi 10.18637/jss.v082.i13",
    "kenward-roger": "Kenward and Roger 1997, degrees of freedom: doi 10.2307/2533558",
}
CONTENTS = {
    "means": "estimated mean of each cohort at each time",
    "contrasts": "cohort minus reference, in level and in change",
    "effect_sizes": "d of each cohort and their difference",
    "retained": "improvement retained, with the shape of its confidence set",
    "coefficients": "the model's fixed effects",
    "variances": "how patients vary",
    "covariance": "how the visits of a patient go together",
}
GIVEN = "Rows in the file"
# Pictures of all outcomes together, which have places of their own.
PLACED = ("trajectories", "effect_forest", "missingness")
RESIDUALS = (
    "In the pictures of residuals look for a curve, a funnel, or single points far from the line.{} That nothing is "
    "seen does not prove the model."
)


@dataclass(frozen=True)
class About:
    """What readers are told of a kind of model: what it is, its residuals and equation, and who described it."""

    meaning: str
    residuals: str
    equation: str
    sources: tuple[str, ...]


ABOUT = {
    "mmrm": About(
        "An MMRM is a mixed model for repeated measures: every cohort has a mean of its own at every visit, nothing is "
        "assumed about the way from one visit to the next, and patients who missed a visit count with those that they "
        "made. Its covariance is how widely patients scatter at each visit, and how closely two visits go together.",
        " Under an MMRM without covariates the points stand in columns: all patients of a cohort are expected at the "
        "same value at a visit.",
        "y(i, t) = mean of i's cohort at t + x(i)'b + e(i, t); e(i, .) ~ N(0, S), S of any form; patient i, visit t",
        ("Mallinckrodt et al. 2008, the model for repeated measures: doi 10.1177/009286150804200402",),
    ),
    "growth": About(
        "A growth model is a mixed model with a mean course for every cohort, and a level or a course of their own for "
        "every patient around it; patients who missed a visit count with those that they made.",
        " Under a growth model a slight upward tilt is expected: each patient's own course is drawn towards the mean.",
        "y(i, t) = x(i, t)'b + z(i, t)'u(i) + e(i, t); u(i) ~ N(0, G), e(i, t) ~ N(0, s^2); patient i, time t",
        (
            "Bates et al. 2015, how the growth model is computed: doi 10.18637/jss.v067.i01",
            "Laird and Ware 1982, the growth model: doi 10.2307/2529876",
        ),
    ),
}

EQUATIONS = (
    ("Improvement", "D = mean at t - mean at the baseline, times -1 where a lower value is better"),
    ("Effect size", "d = D / SD"),
    ("Improvement retained", "R = D of the cohort / D of the reference = D1 / D0"),
    ("Its confidence set (Fieller)", "every R with (D1 - R D0)^2 <= q^2 Var(D1 - R D0), q the quantile of t"),
)

Row = dict[str, object]


def piece(answers: Answers, doubts: Doubts, figures: Sequence[Figure]) -> Piece:
    """Return what the report says of a comparison."""
    study, overall = answers.study, answers.over_outcomes()
    answer: list[Block] = [Items(answers.answer()), *map(Text, overall[:1])]
    answer += [*map(Text, answers.curves()), Text(answers.what_sd_is())]
    if study.errors:
        failed = ", ".join(answers.plan.label(name) for name in study.errors)
        told = "The reasons stand below; the other outcomes stand."
        answer.append(Text(told, strong=f"Could not be analysed: {failed}."))
    answer += pictures(figures, "trajectories")
    others, more = [*answers.other_times(), *overall[1:]], list[Block]()
    if others:
        more = [Heading("At the other times" if len(study.at) > 2 else "At the other time"), Items(others)]
    more += pictures(figures, "effect_forest")
    body: list[Block] = [block for name in answers.asked.outcomes for block in _outcome(answers, name)]
    body += [*_sample(answers, figures), *_models(answers, doubts, figures), *doubts.sensitivity()]
    methods: list[Block] = [
        *map(Text, [study.methods(answers.words), *_overall_methods(answers), *answers.plan.privacy.in_words()]),
        Equations(_equations(answers)),
    ]
    cited = [*REFERENCES, *(line for about in _about(answers) for line in about.sources), CHECKED, UNSEEN]
    cited += [*([FREEDOM[study.df]] if study.df in FREEDOM else []), *([DRAWS] if overall else [])]
    limits, files = study.cannot_say(answers.words), _contents(answers, doubts, figures)
    return Piece("Outcomes", answer, limits, body, methods, files, cited, "comparison", more)


def _outcome(answers: Answers, name: str) -> list[Block]:
    """Return one outcome: what each cohort did, and how they compare."""
    plan, study = answers.plan, answers.study
    head = Heading(plan.label(name))
    if name in study.errors:
        return [head, Text(f"Could not be analysed; the other outcomes stand. {study.errors[name]}")]
    rows = answers.rows(name)
    source = {
        "baseline": "of all cohorts together, observed at the start",
        "reference": f"of {plan.label(study.reference)}, observed at the start",
        "own": "of each cohort, observed at the start",
        "model": "of the model at the start",
        "given": "as given in the plan",
    }[rows[0]["sd_source"]]
    sd = "the SD" if study.sd == "own" else f"an SD of {rows[0]['sd']:.3g}"
    since = answers.when(study.fits[name].baseline)
    if isinstance(answers.asked.roles.baseline, str):
        since = f"the value before treatment ({plan.label(answers.asked.roles.baseline)})"
    told = (
        f"A {study.outcomes[name]} value is better. Improvement is the change since {since} in points of the scale, "
        f"positive if patients got better; d is the improvement divided by {sd} {source}. SE: standard error. "
        f"In brackets: {answers.level} intervals."
    )
    means = Table(
        _means(answers, study.fits[name], rows),
        f"{plan.label(name)}: means in points of the scale, improvement in points and in SDs (d)",
        people=("Patients seen",),
        least=plan.privacy.min_count,
    )
    compared = Table(
        _comparison(answers, rows),
        f"{plan.label(name)}: difference in d in SDs, and the share of the improvement that was kept in %",
    )
    return [head, Text(told), means, compared, Text(_under(answers, name, rows)), *beside(answers, name)]


def _under(answers: Answers, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what is to be said under the tables of an outcome."""
    study, fit = answers.study, answers.study.fits[name]
    under = "p is that of the difference in change."
    if study.margin is not None:
        under += f" The margin of {study.margin:g} SD was set in the plan."
    if any("extrapolated" in str(row["Cohort"]) for row in _means(answers, fit, rows)):
        under += " Extrapolated: no patient of the cohort was seen so late."
    if fit.times:
        under += " Observed means are those of the patients who were still seen, so that drop-out moves them."
    if fit.design.interruption is not None:
        under += (
            " Patients seen, and observed means, take in visits after the change of circumstances; the other numbers "
            "leave out what began with it."
        )
    return under


def _means(answers: Answers, fit: CohortModel, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row a time and cohort: who was seen, the mean, the improvement and d."""
    plan, study = answers.plan, answers.study
    decimals = places(rows[0]["sd"])
    seen = {(c, t): n for c, t, n in fit.sample.seen}
    # A curve may pass by the means that were observed, and drop-out moves these under any model.
    values = fit.augment().groupby([str(fit.cohort), str(fit.time)], observed=True)[fit.outcome].mean().to_dict()
    made: list[Row] = []
    for t in [fit.baseline, *study.at]:
        for cohort in study.cohorts:
            own = "_reference" if cohort == study.reference else ""
            start = t == fit.baseline
            found = next(r for r in rows if (own or r["cohort"] == cohort) and (start or r["time"] == t))
            mean, se = ("baseline_mean", "baseline_se") if start else ("mean", "mean_se")
            beyond = " (extrapolated)" if fit.last_seen[cohort] < t else ""
            row: Row = {
                plan.label(answers.asked.roles.time): _check.show(t),
                "Cohort": plan.label(cohort) + beyond,
                "Patients seen": seen.get((cohort, t), 0) if seen else "",
                "Mean (SE)": f"{fixed(found[mean + own], decimals)} ({fixed(found[se + own], decimals)})",
            }
            if seen:
                # The mean of few is nearly the value of one.
                told = (cohort, t) in values and not plan.privacy.is_few(seen.get((cohort, t), 0))
                row["Observed mean"] = fixed(values[cohort, t], decimals) if told else ""
            row["Improvement"] = "" if start else with_interval(found, f"change{own}", decimals)
            row["d"] = "" if start else with_interval(found, f"d{own}", 2)
            made.append(row)
    return made


def _comparison(answers: Answers, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row a time and cohort beside the reference: the difference and the improvement retained."""
    plan, study = answers.plan, answers.study
    p = "p" if study.correction == "none" else f"p ({CORRECTION[study.correction]})"
    made = []
    for found in rows:
        row: Row = {
            plan.label(answers.asked.roles.time): shown_time(found),
            "Compared": f"{plan.label(found['cohort'])} minus {plan.label(found['reference'])}",
            "Difference in d": with_interval(found, "d_difference", 2),
            "Improvement retained": retained(found),
            p: short_p(found["p_corrected"]),
        }
        if study.margin is not None:
            row["Against the margin"] = found["against_margin"]
        made.append(row)
    return made


def _sample(answers: Answers, figures: Sequence[Figure]) -> list[Block]:
    """Return who was analysed: the flow of rows, the patients per cohort and time."""
    plan = answers.plan
    parts: list[Block] = [Heading("Who was analysed")]
    parts.append(Text("Rows kept and dropped, per outcome. A row is one visit of one patient."))
    flow = _flow(answers)
    lost = [column for row in flow for column in row if column.startswith("Dropped: ")]
    patients = [f"Patients: {plan.label(cohort)}" for cohort in answers.study.cohorts]
    least, caption = plan.privacy.min_count, "Flow of rows, and patients of each cohort (counts)"
    parts.append(Table(flow, caption, people=[*lost, *patients], balance=[*lost, GIVEN], least=least))
    codes = answers.frame.attrs.get("implstats", {}).get("missing_codes", {})
    told = [f"{plan.label(c)} {plan.privacy.few(k)}" for c, k in codes.items() if k]
    if told:
        parts.append(Text(f"Codes for a missing value that were set to missing: {', '.join(told)}."))
    return [*parts, *_seen(answers), *pictures(figures, "missingness")]


def _seen(answers: Answers) -> list[Block]:
    """Return the patients seen per cohort and time, where the tables of the outcomes do not tell them already."""
    study = answers.study
    counts = study.sample_table()
    if {*study.at, *(fit.baseline for fit in study.fits.values())}.issuperset(counts["time"]):
        return []
    n = {(r["outcome"], r["cohort"], r["time"]): int(r["n"]) for r in counts.to_dict("records")}
    when = {t: answers.when(t) for t in sorted(counts["time"].unique())}
    made: list[Row] = []
    for name in study.fits:
        for cohort in study.cohorts:
            row: Row = {"Outcome": answers.plan.label(name), "Cohort": answers.plan.label(cohort)}
            made.append(row | {word: n.get((name, cohort, t), 0) for t, word in when.items()})
    least, caption = answers.plan.privacy.min_count, "Patients seen at each time (counts)"
    table = Table(made, caption, people=list(when.values()), least=least)
    return [Text("Patients seen, per outcome, cohort and time:"), table]


def _flow(answers: Answers) -> list[Row]:
    """Return one row an outcome: rows in the file, added, dropped by reason, used; patients per cohort."""
    plan, fits = answers.plan, answers.study.fits
    own = {name: f"{name} missing" for name in fits}
    reasons = dict.fromkeys(why for fit in fits.values() for why in fit.sample.dropped)
    others = [why for why in reasons if why not in own.values()]
    made = []
    for name, fit in fits.items():
        sample = fit.sample
        row: Row = {"Outcome": plan.label(name), GIVEN: sample.given}
        if sample.added:
            row["Added from the baseline column"] = sample.added
        row["Dropped: outcome missing"] = sample.dropped.get(own[name], 0)
        for why in others:
            row[f"Dropped: {plan.label(why.removesuffix(' missing'))} missing"] = sample.dropped.get(why, 0)
        row["Rows used"] = sample.rows
        made.append(row | {f"Patients: {plan.label(c)}": k for c, k in sample.patients.items()})
    return made


def _models(answers: Answers, doubts: Doubts, figures: Sequence[Figure]) -> list[Block]:
    """Return which model each outcome got and why, how it ended, and what was looked at and seen of its assumptions."""
    plan, study = answers.plan, answers.study
    made: list[Row] = []
    for name, fit in study.fits.items():
        end = "; ".join([fit.convergence.message, *boundary_words(fit)])
        made.append({"Outcome": plan.label(name), "How the fit ended": end})
    about = _about(answers)
    told = [*(f"{line}." for line in study.models(answers.words)), *(kind.meaning for kind in about)]
    look = RESIDUALS.format("".join(kind.residuals for kind in about))
    ends = tuple(f"_{answers.files[name]}" for name in study.fits)
    drawings = [figure for figure in figures if figure.name.endswith(ends) and figure.name not in PLACED]
    head: list[Block] = [Heading("Can the models be believed?"), Items(told), Table(made, "How each fit ended")]
    return [*head, *doubts.assumptions(), Text(look), *drawings]


def _about(answers: Answers) -> list[About]:
    used = {choice.model for choice in answers.study.choices.values()}
    return [about for model, about in ABOUT.items() if model in used]


def _equations(answers: Answers) -> list[tuple[str, str]]:
    return [*(("The model", about.equation) for about in _about(answers)), *EQUATIONS]


def _overall_methods(answers: Answers) -> list[str]:
    if answers.overall is None:
        return [f"There is no mean over outcomes: {answers.no_overall}"] if answers.no_overall else []
    asked, lost = answers.asked.analysis, answers.overall.failed
    told = (
        "The mean over outcomes is that of their d, each outcome with the same weight; its intervals are percentiles "
        f"of {asked.draws - lost} draws of patients with replacement within cohorts (seed {asked.seed})"
    )
    return [f"{told}; {lost} more draws could not be fitted." if lost else f"{told}."]


def _contents(answers: Answers, doubts: Doubts, figures: Sequence[Figure]) -> list[tuple[str, str]]:
    rows = [("comparison.csv, comparison.json", "one row an outcome, time and cohort, at full precision")]
    if answers.overall is not None:
        rows.append(("overall.csv", "mean d over the outcomes, and the improvement retained of it"))
    rows += [(f"{name}.csv", IN_DOUBT[name]) for name in doubts.tables()]
    names = [answers.files[outcome] for outcome in answers.tables]
    for kind, what in (CONTENTS | BESIDE).items():
        having = [answers.files[outcome] for outcome, tables in answers.tables.items() if kind in tables]
        rows += [(", ".join(f"{name}_{kind}.csv" for name in having), what)] if having else []
    rows.append((", ".join(f"{name}.json" for name in names), f"the model{'s' * (len(names) > 1)}, for programs"))
    return [*rows, *drawn(figures)]
