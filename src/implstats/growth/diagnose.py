"""What a fitted model leaves unexplained, and on whom its answers rest: residuals, read-outs in words, influence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError
from implstats.growth.cohorts import CohortModel
from implstats.growth.influence import Deletions, left_out, retained_at_the_end, share_retained, unit_name
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult
from implstats.growth.readings import FEWEST, Reading, answered, funnel, furthest, moved, normality, spreads
from implstats.growth.refits import Refits
from implstats.growth.standardised import cells, studentised, whitened
from implstats.results import Result, frozen

__all__ = ["Diagnosis", "diagnose"]

Floats = NDArray[np.float64]


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
        if len(self.student):
            out["student_residual"] = self.student
        else:
            out = out.drop(columns=["fitted", "residual"])
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
        known = self.result.variances().query("other == ''")
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
            for by, level, of in cells(self.result.design)
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

        `dfbetas` is (whole - without) / standard error of the whole: positive where the level raises the estimate.
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
        answers, parts = self.result, []
        assert isinstance(answers, CohortModel)
        for cohort, time, row, reference in retained_at_the_end(answers):
            without = np.concatenate([share_retained(d.beta, row, reference) for d in self._deletions()])
            change = without - share_retained(self.result.fit.beta[None], row, reference)
            labels = {"cohort": cohort, "reference": answers.reference, "time": time}
            parts.append(self._levels().assign(**labels, retained=without, retained_change=change))
        return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)

    @property
    def _retains(self) -> bool:
        answers = self.result
        return isinstance(answers, CohortModel) and answers.better is not None and len(answers.cohorts) > 1

    def _deletions(self) -> tuple[Deletions, ...]:
        if not self.deletions:
            raise DataError("influence=False: nobody was left out; say diagnose(result, influence=True)")
        return self.deletions

    def _levels(self) -> pd.DataFrame:
        levels = [_word(v) if isinstance(v, tuple) else v for d in self._deletions() for v in d.levels]
        groups = [d.group for d in self._deletions() for _ in d.levels]
        return pd.DataFrame({"group": groups, "level": pd.Series(levels, dtype=object)})

    def _kinds(self) -> Iterator[tuple[str, Floats, Floats]]:
        """Yield each kind of residual: its name, standardised, and the values that they are residuals of."""
        rows = self.result.augment()
        if len(self.student):
            yield "conditional residuals", self.student, rows["fitted"].to_numpy()
        yield "marginal residuals", self.whitened, rows["fixed"].to_numpy()

    @cached_property
    def _readings(self) -> tuple[Reading, ...]:
        found = [reading for kind, values, fitted in self._kinds() for reading in self._of(kind, values, fitted)]
        for (group, effect), part in self.random_effects().groupby(["group", "effect"], sort=False):
            if len(part) >= FEWEST:
                found += normality(f"random effects: {group}, {effect}", f"{group}s", part["std_effect"].to_numpy())
        b, V = self.result.fit.beta, self.result.fit.vcov
        for one in self.deletions:
            names = [_word(level) for level in one.levels]
            found.append(moved(one.group, names, one.cooks_distance(b, V), len(b)))
            found += self._answered(one, names)
        return tuple(found)

    def _of(self, kind: str, values: Floats, fitted: Floats) -> Iterator[Reading]:
        """Yield what is said of one kind of residual."""
        seen = ~np.isnan(values)
        yield from normality(kind, "residuals", values[seen])
        spread = self.spread().query("kind == @kind")
        for by, part in spread.groupby("group", sort=False):
            if len(part) > 1:
                yield spreads(kind, str(by), list(zip(part["level"], part["n"], part["sd"], strict=True)))
        if np.ptp(fitted) > 0:
            yield funnel(kind, values[seen], fitted[seen])
        yield furthest(kind, values[seen], self._row_names[seen])

    @cached_property
    def _row_names(self) -> NDArray[Any]:
        refits, name = Refits(self.result), unit_name(self.result.design)
        pairs = zip(self.result.design.labels.tolist(), refits.patient_of_row.tolist(), strict=True)
        names = [f"row {_check.show(label)} ({name} {_word(refits.patients[k])})" for label, k in pairs]
        return frozen(names, object)

    def _answered(self, one: Deletions, names: Sequence[str]) -> Iterator[Reading]:
        """Yield, for every cohort, how far its improvement retained moves when one is left out."""
        answers = self.result
        if not self._retains or not isinstance(answers, CohortModel):
            return
        for cohort, time, row, reference in retained_at_the_end(answers):
            table = answers.retained_improvement(at=[time], method="delta", df="normal").tidy()
            error = float(table.loc[table["cohort"] == cohort, "std_error"].iloc[0])
            share = float(share_retained(self.result.fit.beta[None], row, reference)[0])
            without = share_retained(one.beta, row, reference)
            if not np.isnan(without - share).all():
                whole = f"at {answers.time} {_check.show(time)} {cohort}"
                yield answered(one.group, names, whole, share, without, error)

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
        groups, plain = [one.group for one in self.deletions], []
        for kind, n in {r.kind: r.n for r in self._readings if r.kind not in groups}.items():
            marked = [r for r in self._readings if r.kind == kind and r.marked]
            if marked:
                lines.append(f"{kind}: " + "; ".join(f"{r.quantity} {r.statistic:.2f}, {r.reading}" for r in marked))
            else:
                plain.append(f"{kind} ({n})")
        if plain:
            lines.append(f"no marked departure was seen, which does not prove that there is none: {'; '.join(plain)}")
        return [*lines, *(f"left out one by one: {r.reading}" for r in self._readings if r.kind in groups)]


def _word(level: Any) -> str:
    return ":".join(map(str, level)) if isinstance(level, tuple) else str(level)


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
        Read-outs in `tidy()`; `residuals`, `random_effects`, `spread`, `influence`, `dfbetas`, `retained` are its data.

    Raises
    ------
    DataError
        If there is no fitted model.

    Notes
    -----
    Conditional residuals, y - X b - Z u, are divided by their own standard errors, the root of diag(R P R), or by their
    SD in the model where more crossed levels connect than such errors are computed for. Marginal ones, y - X b, are
    whitened in the order of time, L_i^-1 (y_i - X_i b) with L_i L_i' = V_i, each patient's own block of the model's
    covariance; an MMRM has only these. Predicted random effects are divided by the SD that predictions should have.

    A read-out is marked if it exceeds its bar, and chance as well (two standard errors under normality). The bars:
    skewness 0.5 (a chi-square with 32 df); excess kurtosis 1 (a t with 10 df); correlation with normal quantiles below
    0.98 (a t with 5 df; chance: what one normal sample in 20 falls below); SD of a cohort or visit 1.5 times another's;
    rank correlation of residuals' size with fitted values 0.2 (what a ratio of 1.5 between the outer thirds gives); a
    residual beyond what one normal sample in 20 has. What is not marked is not proven.

    Cook's distance is (b_(i) - b)' V^-1 (b_(i) - b) / p with p fixed effects and their covariance V in the whole fit;
    marked where they leave their 10 % confidence region, as Cook has it. The change of the improvement retained is
    marked where it exceeds a standard error.

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
    >>> int(ist.diagnose(growth).glance().loc[0, "marked"])
    0
    """
    if not isinstance(result, MixedResult | MMRMResult):
        raise DataError(
            f"diagnose: needs a growth, mixed or MMRM result, not a {type(result).__name__}; give what fit_growth, "
            "fit_mixed or fit_mmrm returned"
        )
    _check.flag("influence", influence)
    result.refuse_weights("diagnose")
    student = studentised(result) if isinstance(result, MixedResult) else np.zeros(0)
    white = whitened(result, Refits(result).patient_of_row)
    return Diagnosis({"influence": influence}, result, student, white, left_out(result) if influence else ())
