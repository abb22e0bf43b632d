"""The report of a comparison of cohorts: the answer, what the data cannot say, tables, pictures, how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from implstats import _check
from implstats.batch import markdown
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
RESIDUALS = (
    "In the pictures of residuals look for a curve, a funnel, or single points far from the line.{} That nothing is "
    "seen does not prove the model."
)


@dataclass(frozen=True)
class About:
    """What readers are told of a kind of model: what it is, what its residuals look like, and who described it."""

    meaning: str
    residuals: str
    sources: tuple[str, ...]


ABOUT = {
    "mmrm": About(
        "An MMRM is a mixed model for repeated measures: every cohort has a mean of its own at every visit, nothing is "
        "assumed about the way from one visit to the next, and patients who missed a visit count with those that they "
        "made. Its covariance is how widely patients scatter at each visit, and how closely two visits go together.",
        " Under an MMRM without covariates the points stand in columns: all patients of a cohort are expected at the "
        "same value at a visit.",
        ("Mallinckrodt et al. 2008, the model for repeated measures: doi 10.1177/009286150804200402",),
    ),
    "growth": About(
        "A growth model is a mixed model with a mean course for every cohort, and a level or a course of their own for "
        "every patient around it; patients who missed a visit count with those that they made.",
        " Under a growth model a slight upward tilt is expected: each patient's own course is drawn towards the mean.",
        (
            "Bates et al. 2015, how the growth model is computed: doi 10.18637/jss.v067.i01",
            "Laird and Ware 1982, the growth model: doi 10.2307/2529876",
        ),
    ),
}

Row = dict[str, object]


def piece(answers: Answers, figures: Sequence[Figure]) -> Piece:
    """Return what the report says of a comparison."""
    study, say = answers.study, markdown.said
    overall = answers.over_outcomes()
    answer = [markdown.bullets(answers.answer()), *map(say, overall[:1])]
    answer += [*map(say, answers.curves()), say(answers.what_sd_is())]
    if study.errors:
        failed = markdown.safe(", ".join(answers.plan.label(name) for name in study.errors))
        answer.append(f"**Could not be analysed: {failed}.** The reasons stand below; the other outcomes stand.")
    answer += pictures(figures, "trajectories")
    others, more = [*answers.other_times(), *overall[1:]], []
    if others:
        more = ["## At the other times" if len(study.at) > 2 else "## At the other time", markdown.bullets(others)]
    more += pictures(figures, "effect_forest")
    body = [block for name in answers.asked.outcomes for block in _outcome(answers, name)]
    body += [*_sample(answers, figures), *_models(answers, figures)]
    methods = [say(study.methods(answers.words)), *map(say, _overall_methods(answers))]
    cited = [*REFERENCES, *(line for about in _about(answers) for line in about.sources)]
    cited += [*([FREEDOM[study.df]] if study.df in FREEDOM else []), *([DRAWS] if overall else [])]
    limits = study.cannot_say(answers.words)
    return Piece("Outcomes", answer, limits, body, methods, _contents(answers, figures), cited, more)


def _outcome(answers: Answers, name: str) -> list[str]:
    """Return one outcome: what each cohort did, and how they compare."""
    plan, study = answers.plan, answers.study
    head = [f"## {markdown.safe(plan.label(name))}"]
    if name in study.errors:
        return [*head, markdown.said(f"Could not be analysed; the other outcomes stand. {study.errors[name]}")]
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
    under = "p is that of the difference in change."
    if study.margin is not None:
        under += f" The margin of {study.margin:g} SD was set in the plan."
    if any("extrapolated" in str(row["Cohort"]) for row in _means(answers, study.fits[name], rows)):
        under += " Extrapolated: no patient of the cohort was seen so late."
    if study.fits[name].times:
        under += " Observed means are those of the patients who were still seen, so that drop-out moves them."
    tables = [_means(answers, study.fits[name], rows), _comparison(answers, rows)]
    return [*head, markdown.said(told), *map(markdown.table, tables), markdown.said(under)]


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
                "Patients seen": str(seen.get((cohort, t), 0)) if seen else "",
                "Mean (SE)": f"{fixed(found[mean + own], decimals)} ({fixed(found[se + own], decimals)})",
            }
            if seen:
                row["Observed mean"] = fixed(values[cohort, t], decimals) if (cohort, t) in values else ""
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


def _sample(answers: Answers, figures: Sequence[Figure]) -> list[str]:
    """Return who was analysed: the flow of rows, the patients per cohort and time."""
    plan, study = answers.plan, answers.study
    parts = ["## Who was analysed", "Rows kept and dropped, per outcome. A row is one visit of one patient."]
    parts.append(markdown.table(_flow(answers)))
    codes = answers.frame.attrs.get("implstats", {}).get("missing_codes", {})
    told = [f"{plan.label(c)} {k}" for c, k in codes.items() if k]
    if told:
        parts.append(markdown.said(f"Codes for a missing value that were set to missing: {', '.join(told)}."))
    counts = study.sample_table()
    shown = {*study.at, *(fit.baseline for fit in study.fits.values())}
    # Visits that were compared have their patients in the tables of the outcomes.
    if not shown.issuperset(counts["time"]):
        n = {(r["outcome"], r["cohort"], r["time"]): int(r["n"]) for r in counts.to_dict("records")}
        times = sorted(counts["time"].unique())
        made: list[Row] = []
        for name in study.fits:
            for cohort in study.cohorts:
                row: Row = {"Outcome": plan.label(name), "Cohort": plan.label(cohort)}
                made.append(row | {answers.when(t): n.get((name, cohort, t), 0) for t in times})
        parts += ["Patients seen, per outcome, cohort and time:", markdown.table(made)]
    return [*parts, *pictures(figures, "missingness")]


def _flow(answers: Answers) -> list[Row]:
    """Return one row an outcome: rows in the file, added, dropped by reason, used; patients per cohort."""
    plan, fits = answers.plan, answers.study.fits
    own = {name: f"{name} missing" for name in fits}
    reasons = dict.fromkeys(why for fit in fits.values() for why in fit.sample.dropped)
    others = [why for why in reasons if why not in own.values()]
    made = []
    for name, fit in fits.items():
        sample = fit.sample
        row: Row = {"Outcome": plan.label(name), "Rows in the file": sample.given}
        if sample.added:
            row["Added from the baseline column"] = sample.added
        row["Dropped: outcome missing"] = sample.dropped.get(own[name], 0)
        for why in others:
            row[f"Dropped: {plan.label(why.removesuffix(' missing'))} missing"] = sample.dropped.get(why, 0)
        row["Rows used"] = sample.rows
        made.append(row | {f"Patients: {plan.label(c)}": k for c, k in sample.patients.items()})
    return made


def _models(answers: Answers, figures: Sequence[Figure]) -> list[str]:
    """Return which model each outcome got and why, how it ended, and the pictures of what it leaves unexplained."""
    plan, study = answers.plan, answers.study
    made: list[Row] = []
    for name, fit in study.fits.items():
        end = "; ".join([fit.convergence.message, *boundary_words(fit)])
        made.append({"Outcome": plan.label(name), "How the fit ended": end})
    about = _about(answers)
    told = [*(f"{line}." for line in study.models(answers.words)), *(kind.meaning for kind in about)]
    look = RESIDUALS.format("".join(kind.residuals for kind in about))
    drawings = [line for name in study.fits for line in pictures(figures, f"residuals_{answers.files[name]}")]
    head = "## Can the models be believed?"
    return [head, markdown.bullets(told), markdown.table(made), look, *drawings]


def _about(answers: Answers) -> list[About]:
    used = {choice.model for choice in answers.study.choices.values()}
    return [about for model, about in ABOUT.items() if model in used]


def _overall_methods(answers: Answers) -> list[str]:
    if answers.overall is None:
        return [f"There is no mean over outcomes: {answers.no_overall}"] if answers.no_overall else []
    asked, lost = answers.asked.analysis, answers.overall.failed
    told = (
        "The mean over outcomes is that of their d, each outcome with the same weight; its intervals are percentiles "
        f"of {asked.draws - lost} draws of patients with replacement within cohorts (seed {asked.seed})"
    )
    return [f"{told}; {lost} more draws could not be fitted." if lost else f"{told}."]


def _contents(answers: Answers, figures: Sequence[Figure]) -> list[tuple[str, str]]:
    rows = [("comparison.csv, comparison.json", "one row an outcome, time and cohort, at full precision")]
    if answers.overall is not None:
        rows.append(("overall.csv", "mean d over the outcomes, and the improvement retained of it"))
    names = [answers.files[outcome] for outcome in answers.tables]
    for kind, what in CONTENTS.items():
        having = [answers.files[outcome] for outcome, tables in answers.tables.items() if kind in tables]
        rows += [(", ".join(f"{name}_{kind}.csv" for name in having), what)] if having else []
    rows.append((", ".join(f"{name}.json" for name in names), f"the model{'s' * (len(names) > 1)}, for programs"))
    return [*rows, *drawn(figures)]
