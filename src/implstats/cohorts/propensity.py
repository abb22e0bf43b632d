"""Weights that make cohorts alike in what was measured: from the probability of each patient's cohort."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.convergence import Convergence
from implstats._core.structure import aliased
from implstats.cohorts.people import people
from implstats.design import rhs
from implstats.design.frames import codes, drop_missing
from implstats.errors import DataError
from implstats.results import Result, Sample, frozen, intervals, p_values
from implstats.survival.binomial import SeparatedError, fit_binomial

__all__ = ["PropensityWeights", "propensity_weights"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ESTIMANDS = ("ate", "att", "overlap")
FOR_WHOM = {
    "ate": "all patients of both cohorts",
    "att": "patients like those of {other}",
    "overlap": "patients who could have been in either cohort",
}
# A patient of such a probability counts a hundredfold.
RARE = 0.01


@dataclass(frozen=True, eq=False, repr=False)
class PropensityWeights(Result):
    """A weight for every patient, and the model of the cohort that it comes from.

    Attributes
    ----------
    cohorts : tuple
        The reference and the other cohort.
    estimand : {"ate", "att", "overlap"}
        Whom the weighted cohorts stand for.
    stabilised : bool
        Whether weights are multiplied by their cohort's share.
    terms : tuple of str
        Terms of the logistic model.
    estimate : numpy.ndarray
        Its coefficients: log odds of the other cohort.
    covariance : numpy.ndarray
        Their covariance.
    score : numpy.ndarray
        Each used patient's probability of the other cohort.
    weight : numpy.ndarray
        Each used patient's weight.
    cohort : numpy.ndarray
        Each used patient's cohort: 0 the reference, 1 the other.
    sample : Sample
        Patients given, used, dropped.
    convergence : Convergence
    """

    cohorts: tuple[Any, Any]
    estimand: str
    stabilised: bool
    terms: tuple[str, ...]
    estimate: Floats
    covariance: Floats
    score: Floats
    weight: Floats
    cohort: Ints
    of_row: Ints
    labels: pd.Index
    sample: Sample
    loglik: float
    convergence: Convergence

    def __post_init__(self) -> None:
        for name in ("estimate", "covariance", "score", "weight", "cohort", "of_row"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def weights(self) -> pd.Series:
        """The weights on the caller's index, nan where a patient was left out."""
        return self._on_rows(self.weight).rename("weight")

    @property
    def scores(self) -> pd.Series:
        """The probabilities of the other cohort on the caller's index, nan where a patient was left out."""
        return self._on_rows(self.score).rename("score")

    def _on_rows(self, values: Floats) -> pd.Series:
        padded = np.append(values, np.nan)
        return pd.Series(padded[self.of_row], index=self.labels)

    @property
    def params(self) -> pd.Series:
        """The coefficients, log odds ratios."""
        return pd.Series(self.estimate.copy(), index=list(self.terms), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """Their covariance."""
        return pd.DataFrame(self.covariance.copy(), index=list(self.terms), columns=list(self.terms))

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a term of the logistic model: log odds ratio of the other cohort, interval and test."""
        error, df = np.sqrt(np.diag(self.covariance)), np.full(len(self.terms), np.inf)
        low, high = intervals(self.estimate, error, df, level)
        statistic = self.estimate / error
        columns = {"term": self.terms, "estimate": self.estimate, "std_error": error, "statistic": statistic}
        columns |= {"p_value": p_values(statistic, df), "conf_low": low, "conf_high": high}
        return pd.DataFrame(columns)

    def effective(self) -> pd.DataFrame:
        """Return one row a cohort: patients, how many they are worth when weighted, and the largest share of one."""
        rows = []
        for k, name in enumerate(self.cohorts):
            w = self.weight[self.cohort == k]
            worth, most = w.sum() ** 2 / (w @ w), w.max() / w.sum()
            scores = self.score[self.cohort == k]
            row = {"cohort": name, "n": len(w), "effective_n": worth, "largest_share": most}
            rows.append(row | {"score_low": scores.min(), "score_high": scores.max()})
        return pd.DataFrame(rows)

    def glance(self) -> pd.DataFrame:
        """Return one row: patients, effective number, log-likelihood of the model of the cohort, convergence."""
        return pd.DataFrame(
            {
                "patients": [len(self.weight)],
                "effective_n": [float(self.effective()["effective_n"].sum())],
                "parameters": [len(self.terms)],
                "loglik": [self.loglik],
                "converged": [self.convergence.converged],
            }
        )

    def header(self) -> list[str]:
        """Return whom the weighted cohorts stand for, and what the weights cost."""
        reference, other = self.cohorts
        whom = FOR_WHOM[self.estimand].format(other=other)
        left = self.effective()
        worth = ", ".join(f"{r.cohort} {r.effective_n:.1f} of {r.n}" for r in left.itertuples())
        most = left.nlargest(1, "largest_share").iloc[0]
        lines = [
            f"Propensity weights: {other} against {reference}, for {whom}"
            + ("; stabilised" if self.stabilised else ""),
            *self.sample.in_words(),
            f"weighted, patients are worth {worth}; the heaviest has {100 * most['largest_share']:.1f} % of "
            f"{most['cohort']}",
        ]
        rare = int(((self.score < RARE) | (self.score > 1 - RARE)).sum())
        if rare and self.estimand != "overlap":
            lines.append(
                f"{rare} with a probability below {RARE:g} or above {1 - RARE:g}: the answer hangs on few patients; "
                "estimand='overlap' does not"
            )
        return [*lines, "weights balance what is in the model, not what was not measured; look at balance_table"]


def propensity_weights(
    frame: pd.DataFrame,
    *,
    cohort: str,
    reference: Any,
    covariates: str | Sequence[Hashable],
    patient: str | None = None,
    estimand: str = "ate",
    stabilised: bool = False,
    missing: str = "drop",
) -> PropensityWeights:
    """How must patients be weighted so that the cohorts are alike in what was measured at the start?

    A logistic model (statsmodels) gives each patient's probability e of the other cohort than the reference.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient; or several, with `patient=`, if the covariates are the same in all of them.
    cohort : str
        Column with the cohort; two of them.
    reference : value of the cohort column
    covariates : list of columns, or patsy right-hand side
        What was known at the start and goes with both cohort and outcome.
    patient : str, optional
        Column that tells patients apart.
    estimand : {"ate", "att", "overlap"}
        Whom the answer is for: all patients, weights 1 / e and 1 / (1 - e); patients like those of the other cohort,
        1 and e / (1 - e); patients who could have been in either, 1 - e and e, which no single patient can dominate
        and which balance the model's terms exactly.
    stabilised : bool
        Multiplies "ate" weights by the share of the patient's cohort.
    missing : {"drop", "raise"}
        Patients with a missing covariate have no weight and are counted, or an error.

    Returns
    -------
    PropensityWeights
        `weights`, a Series on the frame's index, goes into the frame as the column that `patient_weights=` names, in
        `fit_growth`, `fit_mmrm` and `fit_cox`.

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question. Where some patients can be in one cohort only (positivity),
        the covariate that says so is named: no weight can make cohorts alike there.

    Notes
    -----
    Assumes that everything that goes with both cohort and outcome is among the covariates, which a before-and-during
    comparison cannot ensure: calendar time itself is not among them.

    References
    ----------
    Rosenbaum & Rubin 1983, DOI 10.1093/biomet/70.1.41; Robins, Hernan & Brumback 2000, DOI
    10.1097/00001648-200009000-00011; overlap: Li, Morgan & Zaslavsky 2018, DOI 10.1080/01621459.2016.1260466;
    effective numbers: Kish 1965, Survey Sampling, ISBN 978-0-471-48900-9.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> found = ist.propensity_weights(visits, cohort="cohort", reference="before", covariates="age + sex",
    ...                                patient="patient", estimand="overlap")
    >>> growth = ist.fit_growth(visits.assign(weight=found.weights), outcome="bsi", time="month", patient="patient",
    ...                         cohort="cohort", reference="before", patient_weights="weight", method="ml")
    >>> growth.method
    'ML'
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "estimand", estimand, ESTIMANDS)
    faults.ask(_check.one_of, "missing", missing, ("drop", "raise"))
    faults.ask(_check.flag, "stabilised", stabilised)
    if stabilised is True and estimand != "ate":
        faults.add(
            "stabilised", True, f"not for estimand={_check.show(estimand)}", "its weights are bounded as they are"
        )
    _check.frame(frame)
    names = faults.ask(rhs.needed_columns, covariates, frame.columns, "covariates") or []
    for name in names:
        if name in (cohort, patient):
            faults.add("covariates", covariates, f"{_check.show(name)} has a role of its own", "leave it out")
    if not names and not faults:
        faults.add("covariates", covariates, "names no column", "name what was known at the start")
    faults.settle()
    found = people(frame, cohort=cohort, reference=reference, patient=patient, columns=names, faults=faults)
    if len(found.cohorts) > 2:
        raise DataError(f"cohort={_check.show(cohort)}: {len(found.cohorts)} cohorts; keep the two to be compared")
    gone = {f"{name} missing": found.frame[name].isna().to_numpy() for name in names}
    kept, dropped = drop_missing(gone, missing, found.frame.index)
    if len(np.unique(found.cohort[kept])) < 2:
        raise DataError(f"covariates={_check.show(covariates)}: no patient of one cohort has them all")
    used, other = found.frame.loc[kept], found.cohort[kept]
    _overlapping(used, names, other, found.cohorts)
    columns, terms, _ = rhs.encode(used, covariates, argument="covariates")
    X, terms = np.column_stack([np.ones(len(used)), columns]), ["(Intercept)", *terms]
    if repeated := aliased(X):
        wrong = ", ".join(_check.show(terms[j]) for j in repeated)
        raise DataError(f"{wrong}: a linear combination of the other terms, or empty; drop it, or merge the categories")
    try:
        fit = fit_binomial(other.astype(float), np.ones(len(other)), X, "logit")
    except SeparatedError as error:
        wrong = ", ".join(_check.show(terms[j]) for j in error.columns if j) or _check.show(terms[0])
        raise DataError(
            f"covariates={_check.show(covariates)}: {wrong} together tell the cohorts apart, so some patients can be "
            "in one cohort only (positivity); leave such patients out, or a covariate that decides the cohort"
        ) from None
    score = np.asarray(special.expit(X @ fit.beta))
    place = np.full(len(found.frame), len(used))
    place[kept] = np.arange(len(used))
    counts = dict(zip(found.cohorts, np.bincount(other).tolist(), strict=True))
    return PropensityWeights(
        call,
        (found.cohorts[0], found.cohorts[1]),
        estimand,
        stabilised,
        tuple(terms),
        fit.beta,
        fit.vcov,
        score,
        _weights(score, other, estimand, stabilised),
        other,
        place[found.of_row],
        found.labels,
        Sample(len(found.frame), len(used), dropped, {}, counts),
        fit.loglik,
        fit.convergence,
    )


def _weights(score: Floats, other: Ints, estimand: str, stabilised: bool) -> Floats:
    own = np.where(other == 1, score, 1 - score)
    if estimand == "overlap":
        return np.asarray(1 - own)
    if estimand == "att":
        return np.asarray(np.where(other == 1, 1.0, score / (1 - score)))
    share = np.bincount(other)[other] / len(other)
    return np.asarray((share if stabilised else 1.0) / own)


def _overlapping(used: pd.DataFrame, names: Sequence[Hashable], other: Ints, cohorts: Sequence[Any]) -> None:
    """Refuse covariates that alone say which cohort a patient is in: a level of one cohort, or ranges apart."""
    faults = Faults()
    for name in names:
        column = used[name]
        said = None
        if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            ranges = [(column[other == k].min(), column[other == k].max()) for k in (0, 1)]
            for k, m in ((0, 1), (1, 0)):
                if ranges[k][1] <= ranges[m][0] and ranges[k] != ranges[m]:
                    high, low = _check.show(float(ranges[k][1])), _check.show(float(ranges[m][0]))
                    said = (
                        f"at most {high} in {_check.show(cohorts[k])} and at least {low} in {_check.show(cohorts[m])}"
                    )
        else:
            coded = codes(column)
            for k, level in enumerate(coded.levels):
                inside = np.unique(other[coded.of_row == k])
                if len(inside) == 1:
                    said = f"{_check.show(level)} occurs in {_check.show(cohorts[inside[0]])} only"
        if said:
            remedy = "leave these patients out, or the covariate; no weight makes cohorts alike there (positivity)"
            faults.add("covariates", name, said, remedy)
    faults.settle()
