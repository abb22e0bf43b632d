"""How a survival analysis was done, as a paragraph for a methods section, and the sources that it rests on."""

from __future__ import annotations

from implstats.batch.comparison_answers import joined
from implstats.batch.survival_answers import ADJUSTED, UNADJUSTED, SurvivalAnswers
from implstats.design.frames import several

__all__ = ["equations", "methods", "sources"]

SOURCES = {
    "curves": "Kaplan and Meier 1958, the share without the event: doi 10.1080/01621459.1958.10501452",
    "rmst": "Royston and Parmar 2013, restricted mean times: doi 10.1186/1471-2288-13-152",
    "incidence": "Aalen 1978, incidence beside other causes: doi 10.1214/aos/1176344247",
    "gray": "Gray 1988, the test of incidences: doi 10.1214/aos/1176350951",
    "cox": "Cox 1972, hazard ratios: doi 10.1111/j.2517-6161.1972.tb00899.x",
    "check": "Grambsch and Therneau 1994, whether ratios change over time: doi 10.1093/biomet/81.3.515",
    "e_value": "VanderWeele and Ding 2017, E-values: doi 10.7326/M16-2607",
    "cluster": "Lin and Wei 1989, robust standard errors: doi 10.1080/01621459.1989.10478874",
    "frailty": "Therneau, Grambsch and Pankratz 2003, frailty: doi 10.1198/1061860031365",
    "firth": "Heinze and Schemper 2001, Firth's penalty: doi 10.1111/j.0006-341X.2001.00114.x",
    "fine_gray": "Fine and Gray 1999, models of incidence: doi 10.1080/01621459.1999.10474144",
}
EQUATIONS = {
    "curves": ("Share without the event", "S(t) = product over times u <= t of (1 - events(u) / at risk(u))"),
    "rmst": ("Mean time up to T", "area under S between 0 and T"),
    "incidence": (
        "Share ended by cause k",
        "F(t, k) = sum over times u <= t of S(u-) events(u, k) / at risk(u), S of all causes together",
    ),
    "cox": ("Cox model", "h(t, x) = h0(t) exp(x'b); a hazard ratio is exp(b)"),
    "fine_gray": ("Fine and Gray's model", "1 - F(t, x) = (1 - F0(t))^exp(x'b)"),
    "e_value": ("E-value", "RR + sqrt(RR (RR - 1)), RR > 1 the risk ratio that a hazard ratio stands for"),
}


def equations(found: SurvivalAnswers) -> list[tuple[str, str]]:
    """Return what was computed, as equations."""
    used = _used(found)
    return [equation for name, equation in EQUATIONS.items() if used[name]]


def methods(found: SurvivalAnswers) -> str:
    """Return a paragraph for a methods section."""
    from implstats import __version__

    said = [*_estimates(found), *_comparisons(found), *_modelled(found)]
    if found.asked.entry is not None:
        said.append("Rows count as at risk from their entry on.")
    if found.asked.weights is not None:
        said.append(f"Rows were weighted by {found.plan.label(found.asked.weights)}.")
    rows = "were left out and counted" if found.asked.missing == "drop" else "were not accepted"
    said.append(f"Rows with missing values {rows}. Intervals are {found.level}; p-values are not corrected.")
    return " ".join([*said, f"Computed with implstats {__version__}."])


def _estimates(found: SurvivalAnswers) -> list[str]:
    asked, plan = found.asked, found.plan
    over = f"over {plan.label(asked.duration)}"
    if found.curves is not None:
        said = [
            f"The share without the event ({plan.label(asked.event)}) {over} was estimated with Kaplan and Meier's "
            f"method, with intervals symmetric on the {found.curves.interval} scale."
        ]
        if found.rmst is not None:
            end = "as the plan asks" if asked.tau is not None else "the last time that every group reaches"
            said.append(f"Mean times were taken up to {found.span(found.rmst.tau)}, {end}.")
        return said
    causes = joined([plan.label(c) for c in found.checked.spells.causes])
    return [
        f"Several causes end a spell ({causes}), so that their incidence {over} was estimated with Aalen and "
        "Johansen's method; 1 - Kaplan-Meier would take other causes for censoring and say too much."
    ]


def _comparisons(found: SurvivalAnswers) -> list[str]:
    if found.logrank is None and found.gray is None:
        return []
    strata = [found.plan.label(c) for c in several(found.asked.strata)]
    within = f", within {joined(strata)}" if strata else ""
    test = "the log-rank test" if found.logrank is not None else "Gray's test"
    return [f"Groups were compared with {test}{within}."]


def _modelled(found: SurvivalAnswers) -> list[str]:
    if not found.models:
        return []
    asked, plan, cox = found.asked, found.plan, found.models[-1].cox
    cause = "cause-specific " if found.checked.several else ""
    ties = {"efron": "Efron's approximation of ties", "breslow": "Breslow's approximation of ties"}
    exact = "exact likelihood of discrete times"
    terms = asked.terms if isinstance(asked.terms, str) else " + ".join(map(str, asked.terms or ()))
    kinds = {UNADJUSTED: f"{asked.by} alone", ADJUSTED: terms}
    with_terms = joined([kinds[kind] for kind in dict.fromkeys(model.kind for model in found.models)])
    said = f"Hazard ratios are those of {cause}Cox models ({ties.get(asked.ties, exact)}), with the terms {with_terms}"
    options = []
    if asked.strata is not None:
        strata = joined([plan.label(column) for column in several(asked.strata)])
        options.append(f"a baseline hazard for each stratum of {strata}")
    if cox.robust is not None:
        options.append(f"standard errors robust to what {plan.label(asked.cluster)} has in common")
    if asked.frailty is not None:
        options.append(f"a gamma frailty of {plan.label(asked.frailty)}")
    if asked.penalty == "firth":
        options.append("Firth's penalty and profile intervals")
    elif asked.penalty is not None:
        options.append(f"a ridge penalty of {asked.penalty:g}")
    said += f"; {', '.join(options)}" if options else ""
    checked = " Whether ratios change over time was asked with score tests of a change along 1 - Kaplan-Meier."
    fine_gray = " Fine and Gray's models, with robust standard errors, stand beside them." if asked.fine_gray else ""
    return [f"{said}.{checked}{fine_gray}"]


def sources(found: SurvivalAnswers) -> list[str]:
    """Return what is cited."""
    return [SOURCES[name] for name, there in _used(found).items() if there]


def _used(found: SurvivalAnswers) -> dict[str, bool]:
    """Return which methods were used."""
    asked, models = found.asked, found.models
    return {
        "curves": found.curves is not None,
        "rmst": found.rmst is not None,
        "incidence": found.incidence is not None,
        "gray": found.gray is not None,
        "cox": bool(models),
        "check": any(m.check for m in models),
        "e_value": bool(models),
        "cluster": bool(models) and asked.cluster is not None,
        "frailty": bool(models) and asked.frailty is not None,
        "firth": bool(models) and asked.penalty == "firth",
        "fine_gray": any(m.fine_gray for m in models),
    }
