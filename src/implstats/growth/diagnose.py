"""What a fitted model leaves unexplained, and on whom its answers rest: residuals, read-outs in words, influence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats.design import GrowthDesign
from implstats.errors import DataError
from implstats.growth.cohorts import DesignAnswers
from implstats.growth.influence import Deletions, left_out, units
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult
from implstats.growth.readings import FEWEST, Reading, funnel, furthest, normality, spreads
from implstats.growth.refits import Refits
from implstats.growth.whitened import studentised, whitened
from implstats.results import Result, frozen

__all__ = ["Diagnosis", "diagnose"]

Floats = NDArray[np.float64]

ELLIPSOID = 0.10
NAMED = 3


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Result):
    """What was seen of a model's residuals, and of the fits without each patient and each cluster.

    Attributes
    ----------
    result : GrowthResult, MixedResult or MMRMResult
        The model that was looked at.
    student : (n,) numbers
        Conditional residuals over their own standard errors; empty for an MMRM, which has no random effects.
    whitened : (n,) numbers
        Marginal residuals of each patient, made uncorrelated and of variance one by the model's covariance.
    deletions : tuple of Deletions
        The fits without each level of each grouping factor; empty if influence was not asked for.
    """

    result: MixedResult | MMRMResult
    student: Floats
    whitened: Floats
    deletions: tuple[Deletions, ...]

    def __post_init__(self) -> None:
        for name in ("student", "whitened"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    def residuals(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, and its residuals of both kinds.

        `residual` is observed - fitted, random effects included, and `student_residual` the same over its own standard
        error (not for an MMRM). `marginal_residual` is observed - fixed part; `whitened_residual` is what is left of it
        once the patient's earlier rows have been used to predict it, over the SD that the model gives to that.
        """
        out = self.result.augment().drop(columns="std_residual")
        if not len(self.student):
            out = out.drop(columns=["fitted", "residual"])
        else:
            out["student_residual"] = self.student
        out["marginal_residual"] = self.result.design.y - out["fixed"]
        out["whitened_residual"] = self.whitened
        return out

    def random_effects(self) -> pd.DataFrame:
        """Return one row a level and random effect: its prediction, and that over the SD that predictions should have.

        Predictions are drawn towards zero: their variance is the random effect's less that of their error. No rows for
        an MMRM, nor for a variance of zero.
        """
        if not isinstance(self.result, MixedResult):
            return pd.DataFrame(columns=["group", "level", "effect", "estimate", "std_effect"])
        table = self.result.random_effects().drop(columns=["conf_low", "conf_high"])
        known = self.result.variances().query("group != 'Residual' and other == ''")
        table = table.merge(known[["group", "effect", "variance"]], on=["group", "effect"], how="left")
        spread = table["variance"] - table["std_error"] ** 2
        table = table[spread > 1e-8 * table["variance"]].reset_index(drop=True)
        table["std_effect"] = table["estimate"] / np.sqrt(table["variance"] - table["std_error"] ** 2)
        return table[["group", "level", "effect", "estimate", "std_effect"]]

    def spread(self) -> pd.DataFrame:
        """Return the SD of standardised residuals in each cohort and at each visit (third of the times, if irregular).

        One where the model is right. No rows for a model that knows no cohorts; groups of under 5 rows are left out.
        """
        rows = [
            (kind, by, level, int(here.sum()), float(values[here].std(ddof=1)))
            for kind, values, _ in self._kinds()
            for by, level, of in self._groups()
            if (here := of & ~np.isnan(values)).sum() >= FEWEST
        ]
        return pd.DataFrame(rows, columns=["kind", "group", "level", "n", "sd"])

    def influence(self) -> pd.DataFrame:
        """Return one row a patient (then a cluster): how far the fixed effects move together when it is left out.

        `retained_change` is the largest change of the improvement retained at the last visit, over the cohorts; there
        only where the model knows which direction is better. Missing where the rest could not be fitted.
        """
        b, V = self.result.fit.beta, self.result.fit.vcov
        out = self._levels()
        out["rows"] = np.concatenate([d.rows for d in self._deletions()])
        out["cooks_distance"] = np.concatenate([d.cooks_distance(b, V) for d in self._deletions()])
        if self._retains:
            change = self.retained()["retained_change"].to_numpy().reshape(len(out), -1)
            out["retained_change"] = change[np.arange(len(out)), np.abs(change).argmax(axis=1)]
        return out

    def dfbetas(self) -> pd.DataFrame:
        """Return one row a level and term: the estimate without the level, and how far the level pulls it.

        `dfbetas` is (whole - without) / standard error of the whole: positive where the level makes the estimate larger.
        """
        names, b, V = self.result.design.names, self.result.fit.beta, self.result.fit.vcov
        out = self._levels().loc[lambda t: t.index.repeat(len(names))].reset_index(drop=True)
        out["term"] = list(names) * (len(out) // len(names))
        out["estimate"] = np.concatenate([d.beta.ravel() for d in self._deletions()])
        out["dfbetas"] = np.concatenate([d.dfbetas(b, V).ravel() for d in self._deletions()])
        return out

    def retained(self) -> pd.DataFrame:
        """Return one row a level and cohort: the improvement retained at the last visit without it, and the change.

        Missing where the reference does not improve, with or without the level.
        """
        if not self._retains:
            raise DataError("retained: asks for a growth model or MMRM with better='lower' or better='higher'")
        answers = self.result
        assert isinstance(answers, DesignAnswers)
        last = max(answers.changes(df="normal").tidy()["time"])
        rows = [r[0] for r in answers.improvement_rows([last])]
        parts = []
        for c, cohort in enumerate(answers.cohorts[1:], start=1):
            without = np.concatenate([_share(d.beta, rows[c], rows[0]) for d in self._deletions()])
            more = {"cohort": cohort, "reference": answers.reference, "time": last, "retained": without}
            change = without - _share(answers.fit.beta[None], rows[c], rows[0])
            parts.append(self._levels().assign(**more, retained_change=change))
        return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)

    @property
    def _retains(self) -> bool:
        return isinstance(self.result, DesignAnswers) and self.result.better is not None

    def _deletions(self) -> tuple[Deletions, ...]:
        if not self.deletions:
            raise DataError("influence=False: nobody was left out; say diagnose(result, influence=True)")
        return self.deletions

    def _levels(self) -> pd.DataFrame:
        pairs = [(d.group, _word(level)) for d in self._deletions() for level in d.levels]
        return pd.DataFrame({"group": [g for g, _ in pairs], "level": pd.Series([v for _, v in pairs], dtype=object)})

    def _kinds(self) -> Iterator[tuple[str, Floats, Floats]]:
        """Yield each kind of residual: its name, standardised, and the values that they are residuals of."""
        rows = self.result.augment()
        if len(self.student):
            yield "conditional residual", self.student, rows["fitted"].to_numpy()
        yield "marginal residual", self.whitened, rows["fixed"].to_numpy()

    def _groups(self) -> Iterator[tuple[str, Any, NDArray[np.bool_]]]:
        """Yield the rows of each cohort, and those of each visit or third of the times."""
        design = self.result.design
        if not isinstance(design, GrowthDesign):
            return
        for c, cohort in enumerate(design.cohorts):
            yield str(design.cohort), cohort, design.cohort_codes == c
        if design.times:
            for t in design.times:
                yield str(design.time), _check.show(t), design.t == t
            return
        ends = np.quantile(design.t, [0, 1 / 3, 2 / 3, 1])
        third = np.searchsorted(ends[1:3], design.t)
        for k in range(3):
            yield str(design.time), f"{ends[k]:.4g} to {ends[k + 1]:.4g}", third == k

    @cached_property
    def _readings(self) -> tuple[Reading, ...]:
        found, spread = [], self.spread()
        names = self._row_names()
        for kind, values, fitted in self._kinds():
            seen = ~np.isnan(values)
            found += normality(kind, "residuals", values[seen])
            for by, part in spread[spread["kind"] == kind].groupby("group", sort=False):
                if len(part) > 1:
                    found.append(spreads(kind, str(by), list(zip(part["level"], part["n"], part["sd"], strict=True))))
            if np.ptp(fitted) > 0:
                found.append(funnel(kind, values[seen], fitted[seen]))
            found.append(furthest(kind, values[seen], names[seen]))
        for (group, effect), part in self.random_effects().groupby(["group", "effect"], sort=False):
            if len(part) >= FEWEST:
                found += normality(f"random effect: {group}, {effect}", f"{group}s", part["std_effect"].to_numpy())
        for one in self.deletions:
            found += [self._moved(one), *(self._answered(one) if self._retains else ())]
        return tuple(found)

    def _row_names(self) -> NDArray[Any]:
        refits = Refits(self.result)
        name = units(refits)
        words = [f"{name} {_word(v)}" for v in refits.patients]
        pairs = zip(self.result.design.labels.tolist(), refits.patient_of_row.tolist(), strict=True)
        return np.array([f"row {_check.show(label)} ({words[k]})" for label, k in pairs], dtype=object)

    def _moved(self, one: Deletions) -> Reading:
        """Return who moves the fixed effects most, and how far into their confidence region."""
        p, V = len(self.result.design.names), self.result.fit.vcov
        distance = one.cooks_distance(self.result.fit.beta, V)
        n, bar = int((~np.isnan(distance)).sum()), float(special.chdtri(p, 1 - ELLIPSOID)) / p
        if not n:
            words = f"no {one.group} can be left out: what is left cannot be fitted"
            return Reading(one.group, "Cook's distance", 0, np.nan, bar, False, words)
        top = np.argsort(-np.nan_to_num(distance), kind="stable")[: min(NAMED, n)]
        who = ", ".join(f"{_word(one.levels[k])} ({distance[k]:.2g})" for k in top)
        share = 100 * special.chdtr(p, p * distance[top[0]])
        words = (
            f"the fixed effects move most without {one.group} {who}; without the first, to the edge of their "
            f"{share:.2g} % confidence region"
        )
        lost = f"; {len(distance) - n} could not be left out" if n < len(distance) else ""
        return Reading(
            one.group, "Cook's distance", n, float(distance[top[0]]), bar, bool(distance[top[0]] > bar), words + lost
        )

    def _answered(self, one: Deletions) -> Iterator[Reading]:
        """Yield, for every cohort, how far its improvement retained moves when one is left out."""
        answers = self.result
        assert isinstance(answers, DesignAnswers)
        table = self.retained()
        table = table[(table["group"] == one.group) & table["retained"].notna()]
        for (cohort, last), part in table.groupby(["cohort", "time"], sort=False):
            whole = answers.retained_improvement(at=[last], method="delta", df="normal").tidy()
            error = float(whole.loc[whole["cohort"] == cohort, "std_error"].iloc[0])
            low, high = (part.loc[k] for k in (part["retained"].idxmin(), part["retained"].idxmax()))
            change = float(part.loc[part["retained_change"].abs().idxmax(), "retained_change"])
            words = (
                f"{cohort} kept {_percent(low['retained'] - low['retained_change'])} at {answers.time} "
                f"{_check.show(last)}; with one {one.group} left out, {_percent(low['retained'])} (without "
                f"{low['level']}) to {_percent(high['retained'])} (without {high['level']})"
            )
            yield Reading(one.group, "improvement retained", len(part), change, error, abs(change) > error, words)

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a read-out: what was looked at, the number, its threshold, and what it says in words."""
        return pd.DataFrame([asdict(r) for r in self._readings])

    def glance(self) -> pd.DataFrame:
        """Return one row: rows, patients, how many read-outs are marked, and the largest Cook's distance."""
        distances = [r.statistic for r in self._readings if r.quantity == "Cook's distance"]
        return self.result.glance()[["rows", "patients"]].assign(
            marked=sum(r.marked for r in self._readings), cooks_distance=max(distances, default=np.nan)
        )

    def header(self) -> list[str]:
        """Return the model, what is marked of each kind of residual, and on whom the answers rest most."""
        lines = [f"Diagnosis of {self.result.formula} ({self.result.method})", *self.result.sample.in_words()[:1]]
        groups = [one.group for one in self.deletions]
        looked = [r for r in self._readings if r.kind not in groups]
        for kind in dict.fromkeys(r.kind for r in looked):
            mine = [r for r in looked if r.kind == kind]
            marked = "; ".join(f"{r.reading} ({r.quantity} {r.statistic:.2f})" for r in mine if r.marked)
            none = f"no marked departure was seen in {mine[0].n} values, which does not prove that there is none"
            lines.append(f"{kind}: {marked or none}")
        return [*lines, *(f"left out one by one: {r.reading}" for r in self._readings if r.kind in groups)]


def _word(level: Any) -> str:
    return ":".join(map(str, level)) if isinstance(level, tuple) else str(level)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _share(beta: Floats, row: Floats, reference: Floats) -> Floats:
    """Return the improvement retained at each beta (L, p), nan where the reference does not improve."""
    change = beta @ reference
    return np.asarray(beta @ row / np.where(change > 0, change, np.nan))


def diagnose(result: MixedResult | MMRMResult, *, influence: bool = True) -> Diagnosis:
    """Does the model fit its data, and does any one patient or cluster make the answer?

    Parameters
    ----------
    result : GrowthResult, MixedResult or MMRMResult
        What `fit_growth`, `fit_mixed` or `fit_mmrm` returned.
    influence : bool
        Whether every patient, and every level of the other grouping factors (site, therapist), is left out in turn and
        the model fitted again, its variances too. The words then name patients by their ids.

    Returns
    -------
    Diagnosis
        `tidy()` has the read-outs, `residuals()`, `random_effects()`, `spread()`, `influence()`, `dfbetas()` and
        `retained()` what they rest on.

    Raises
    ------
    DataError
        If there is no fitted model.

    Notes
    -----
    Two kinds of residuals are looked at. Conditional ones, y - X b - Z u, are divided by their own standard errors,
    the root of diag(R P R); they tell of the errors within patients. Marginal ones, y - X b, are whitened: L_i^-1 (y_i -
    X_i b) with L_i L_i' = V_i, the patient's own block of the model's covariance, in the order of time; they tell of the
    mean and of V. An MMRM has only these. Predicted random effects are divided by the SD that predictions should have;
    they look more normal than the true ones, the less was seen of each patient.

    A read-out is marked if it exceeds its bar, and chance as well (two standard errors under normality): skewness 0.5
    (a chi-square with 32 df); excess kurtosis 1 (a t with 10 df); correlation with normal quantiles below 0.98 (a t with
    5 df; chance: what one normal sample in 20 falls below); largest SD of a cohort or visit over the smallest 1.5, and
    rank correlation of residuals' size with fitted values 0.2, which is such a ratio between the outer thirds; a
    residual that one normal sample in 20 has beyond it. What is not marked is not proven.

    Cook's distance is (b_(i) - b)' V^-1 (b_(i) - b) / p with the whole fit's V and p fixed effects. It is marked where the
    fixed effects move out of their 10 % confidence region (Cook's own mark), the change of improvement retained where it
    exceeds a standard error.

    References
    ----------
    Cook 1977, DOI 10.1080/00401706.1977.10489493; Singer, Rocha & Nobre 2017, DOI 10.1111/insr.12178; Filliben 1975,
    DOI 10.1080/00401706.1975.10489279; Demidenko & Stukel 2005, Statistics in Medicine 24, 893-909.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower", shape="linear")
    >>> diagnosis = ist.diagnose(growth)
    >>> int(diagnosis.glance().loc[0, "marked"])
    0
    """
    if not isinstance(result, MixedResult | MMRMResult):
        raise DataError(
            f"diagnose: needs a growth, mixed or MMRM result, not a {type(result).__name__}; give what fit_growth, "
            "fit_mixed or fit_mmrm returned"
        )
    _check.flag("influence", influence)
    student = studentised(result) if isinstance(result, MixedResult) else np.zeros(0)
    white = whitened(result, Refits(result).patient_of_row)
    return Diagnosis({"influence": influence}, result, student, white, left_out(result) if influence else ())
