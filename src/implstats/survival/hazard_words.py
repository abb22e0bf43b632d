"""A Cox model in words, and what its tables need beside numbers: terms of columns, strata of profiles, E-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._core import frailty
from implstats._core.evalue import e_value, risk_ratio
from implstats.design.frames import first_rows, several
from implstats.design.spells import Spells
from implstats.errors import DataError
from implstats.survival.groups import listed

if TYPE_CHECKING:
    from implstats.survival.hazards import CoxResult

__all__ = ["FEW_EVENTS", "bases", "header", "in_strata", "recurrence_in_words", "with_e_values"]

FEW_EVENTS = 10
TIES = {"efron": "Efron's ties", "breslow": "Breslow's ties", "exact": "exact discrete likelihood"}


def bases(names: Sequence[str]) -> dict[str, str]:
    """Return column name -> the term that it belongs to: `celltype[large]` -> `celltype`."""
    found = {}
    for name in names:
        depth, kept = 0, []
        for letter in name:
            depth += letter == "["
            if depth <= 0:
                kept.append(letter)
            depth -= letter == "]"
        found[name] = "".join(kept) if depth == 0 else name
    return found


def in_strata(found: Spells, strata: Any, profile: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.intp]]:
    """Return profiles with the stratum of each; without the columns of the strata, each profile in every one."""
    columns = several(strata)
    if not columns:
        return profile, np.zeros(len(profile), dtype=np.intp)
    given = [c for c in columns if c in profile.columns]
    if given and len(given) < len(columns):
        raise DataError(f"profile: names {given[0]!r} but not every stratum; give all of {list(columns)}, or none")
    if given:
        labels = [", ".join(str(v) for v in row) for row in profile[list(columns)].itertuples(index=False)]
        for row, label in zip(profile.index, labels, strict=True):
            if label not in found.strata:
                near = _check.nearest(label, found.strata)
                raise DataError(f"profile: stratum {label!r} of row {_check.show(row)} is not in the fit{near}")
        return profile, np.array([found.strata.index(label) for label in labels], dtype=np.intp)
    everywhere = np.tile(np.arange(len(found.strata)), len(profile))
    out = profile.iloc[np.repeat(np.arange(len(profile)), len(found.strata))]
    return out.assign(stratum=[found.strata[k] for k in everywhere]), everywhere


def with_e_values(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of hazard ratios with the E-values of the estimates and of their intervals."""
    estimates, limits = [], []
    for row in table.to_dict("records"):
        estimates.append(e_value(risk_ratio(row["estimate"])))
        nearer = row["conf_low"] if row["estimate"] > 1 else row["conf_high"]
        crosses = row["conf_low"] <= 1 <= row["conf_high"]
        limits.append(1.0 if crosses else e_value(risk_ratio(nearer)))
    return table.assign(e_value=estimates, e_value_limit=limits)


def header(result: CoxResult) -> list[str]:
    """Return the lines above a Cox model's table."""
    found, call = result.spells, result.call
    what = found.event_name if call["cause"] is None else f"{call['cause']} ({found.event_name})"
    lines = [f"Cox model: hazard of {what} over {found.duration} ({TIES[call['ties']]})"]
    lines += [
        _events(result),
        *_causes(result),
        *_penalty(result),
        *_weights(result),
        *_together(result),
        *_strata(result),
    ]
    lines += _at_risk(result)
    record = result.convergence
    return [*lines, *found.notes, *found.sample.in_words(), f"{record.message} in {record.iterations} steps"]


def _events(result: CoxResult) -> str:
    p, each = len(result.terms), result.events / len(result.terms)
    line = f"{result.events} events in {len(result.happened)} rows; {each:.3g} events per parameter ({p} in all)"
    if each < FEW_EVENTS and result.penalty != "firth":
        line += f": below {FEW_EVENTS}, estimates are biased away from 0; penalty='firth' lessens that"
    return line


def _causes(result: CoxResult) -> list[str]:
    """Return what became of rows that another cause ended."""
    others = [c for c in result.spells.causes if c != result.call["cause"]]
    number = int((result.spells.event > 0).sum()) - result.events
    if not number:
        return []
    return [
        f"{number} rows that {listed(others)} ended are taken for censored: a ratio compares those still at risk, not "
        "who has the event in the end (fit_fine_gray)"
    ]


def _penalty(result: CoxResult) -> list[str]:
    if result.penalty is None:
        return []
    if result.penalty == "firth":
        return ["Firth's penalty: intervals and tests are from the profile of the penalised likelihood"]
    return [
        f"ridge penalty {_check.show(result.penalty)} per standard deviation: estimates are drawn towards 0, and "
        "intervals do not hold their level"
    ]


def _weights(result: CoxResult) -> list[str]:
    weight = result.spells.weight
    if not result.spells.weighted:
        return []
    if result.weighs_patients:
        return [_patient_weights(result)]
    line = f"weights sum to {weight.sum():.6g}"
    if result.robust is not None:
        return [line]
    whole = bool((weight == np.floor(weight)).all())
    return [f"{line}: standard errors take them for counts of rows" + ("" if whole else "; others need cluster=")]


def _patient_weights(result: CoxResult) -> str:
    """Return how many the weights leave (Kish 1965)."""
    found, call = result.spells, result.call
    w = found.weight[first_rows(found.person)]
    who = "rows" if call["id"] is None else f"{call['id']}s"
    return (
        f"{who} weighted by {call['patient_weights']}, effective number {w.sum() ** 2 / (w @ w):.1f} of {len(w)}; "
        "standard errors take the weights as known"
    )


def _together(result: CoxResult) -> list[str]:
    """Return what was done about rows that hang together, or what was left undone."""
    found, call, fit = result.spells, result.call, result.fit
    if result.robust is not None:
        number = len(found.clusters)
        of = "rows" if call["cluster"] is None and call["id"] is None else call["cluster"] or call["id"]
        return [f"standard errors are robust, from {number} clusters ({of}){_check.few_clusters(number)}"]
    if isinstance(fit, frailty.Fit):
        line = f"gamma frailty of {call['frailty']} ({len(found.clusters)} groups): variance {fit.theta:.4g}"
        if fit.theta == 0:
            return [f"{line}, on its boundary: the likelihood falls from 0 on"]
        p = "p < .001" if fit.p_value < 0.001 else f"p = {fit.p_value:.3f}"
        lines = [f"{line} (likelihood ratio {fit.statistic:.4g}, {p}); hazard ratios are those within a group"]
        first = pd.Series(found.entry).groupby(found.person).min()
        if (first > 0).any():
            lines.append("late entry: the frailty is taken as gamma distributed among groups as they are at entry")
        return lines
    return recurrence_in_words(found, call["id"], result.happened)


def recurrence_in_words(found: Spells, id_: Any, happened: NDArray[np.bool_]) -> list[str]:
    """Return what rows of one id that have several events are taken for, where nothing is done about them."""
    if id_ is None or found.cluster is not None or np.bincount(found.person, weights=happened).max() <= 1:
        return []
    return [f"recurrent events: rows of one {id_} are taken as independent; say cluster={id_!r}"]


def _strata(result: CoxResult) -> list[str]:
    found = result.spells
    if result.call["strata"] is None:
        return []
    names = ", ".join(str(c) for c in several(result.call["strata"]))
    without = [s for k, s in enumerate(found.strata) if not result.happened[found.stratum == k].any()]
    line = f"a baseline hazard for each of {len(found.strata)} strata ({names})"
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        rows = "its rows say" if len(without) == 1 else "their rows say"
        line += f"; no event in {', '.join(without[:3])}{more}: {rows} nothing of the terms"
    return [line]


def _at_risk(result: CoxResult) -> list[str]:
    """Return what delayed entry and lonely events mean."""
    risk, lines = result.model.risk, []
    if result.spells.delayed:
        lines.append("rows are at risk from their entry on: the model holds for those who get that far")
    alone = int((risk.sums(np.ones((len(risk.row), 1)))[:, 0] < 1.5).sum())
    if alone:
        lines.append(
            f"{alone} of {len(risk.time)} event times with nobody else at risk, which say nothing of the terms"
        )
    return lines
