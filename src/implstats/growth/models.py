"""The result of a mixed model: terms, variances, predictions, and a second opinion."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._core import mixed
from implstats._core.convergence import Convergence
from implstats._core.inference import Inference, infer
from implstats._core.prediction import covariance_of_prediction, random_effects
from implstats._core.structure import AliasedError, Block, Problem, prepare
from implstats.design import Design
from implstats.errors import BoundaryWarning, ConvergenceError, DataError
from implstats.results import Estimates, Result, Sample, intervals, lock

__all__ = ["DF", "MixedResult", "fit_design", "warn_boundary"]

Floats = NDArray[np.float64]

DF = ("satterthwaite", "kenward-roger", "normal")
METHODS = ("reml", "ml")
PERFECT = 1e-26
NO_ERROR = 1e-10


def fit_design(design: Design, method: str) -> tuple[Problem, mixed.Fit]:
    """Return the prepared problem and its fit; columns that are linear combinations of others are named."""
    _check.one_of("method", method, METHODS)
    blocks = [Block(t.of_row, len(t.levels), t.Z) for t in design.terms]
    if len(design.y) <= design.X.shape[1]:
        raise DataError(f"{len(design.y)} rows for {design.X.shape[1]} fixed effects; use fewer terms")
    variances = 1 + sum(len(t.effects) * (len(t.effects) + 1) // 2 for t in design.terms)
    if len(design.y) - design.X.shape[1] < variances:
        raise DataError(
            f"{len(design.y)} rows for {design.X.shape[1]} fixed effects and {variances} variances and correlations; "
            "use fewer terms"
        )
    try:
        problem = prepare(design.y, design.X, blocks)
    except AliasedError as error:
        names = design.names if error.matrix == "X" else design.terms[int(error.matrix)].effects
        wrong = ", ".join(_check.show(names[j]) for j in error.columns)
        raise DataError(
            f"{wrong}: a linear combination of the other terms, or empty; drop it, or merge the categories"
        ) from None
    perfect = DataError(
        f"outcome={_check.show(design.outcome)}: the model fits it perfectly, so there is no error to judge by; "
        "look at how it was made"
    )
    if problem.T[-1, -1] <= PERFECT * float(design.y @ design.y):
        raise perfect
    try:
        fit = mixed.fit(problem, reml=method == "reml")
    except ConvergenceError as error:
        raise ConvergenceError(f"{design.formula}: {error}", error.record) from None
    except np.linalg.LinAlgError:
        raise perfect from None
    if fit.sigma2 < NO_ERROR * float(np.var(design.y)):
        raise perfect
    return problem, fit


def boundary_words(design: Design, fit: mixed.Fit) -> list[str]:
    """Return which variances are zero and which correlations are one."""
    said = []
    for term, root, G in zip(design.terms, fit.L, fit.G, strict=True):
        if root.shape[1] == root.shape[0]:
            continue
        groups = f"{term.group}s" if len(term.columns) == 1 else f"{term.group} groups"
        variances = np.diag(G)
        gone = [
            e
            for e, v, z in zip(term.effects, variances, (term.Z**2).mean(axis=0), strict=True)
            if v * z <= 1e-10 * fit.sigma2
        ]
        if gone:
            said.append(f"the variance of {' and '.join(gone)} between {groups} is 0")
        elif len(term.effects) == 2:
            sign = "1" if G[0, 1] > 0 else "-1"
            said.append(f"the correlation of {term.effects[0]} and {term.effects[1]} between {groups} is {sign}")
        else:
            said.append(f"the covariance of {', '.join(term.effects)} between {groups} has rank {root.shape[1]}")
    return said


def warn_boundary(result: MixedResult) -> None:
    """Warn once of a variance at zero, in the frame of the user's call."""
    if result.convergence.boundary:
        warnings.warn(f"{result.formula}: {'; '.join(result.boundary)}", BoundaryWarning, stacklevel=3)


@dataclass(frozen=True, eq=False, repr=False)
class MixedResult(Result):
    """A fitted mixed model: what the fixed effects are, how sure they are, and how patients vary.

    Attributes
    ----------
    design : Design
        The arrays that were fitted; never the user's frame.
    fit : Fit
        The optimum.
    problem : Problem
        The sufficient statistics.
    """

    design: Design
    problem: Problem
    fit: mixed.Fit

    def __post_init__(self) -> None:
        lock((self.design, self.problem, self.fit))

    @property
    def outcome(self) -> str:
        """The outcome's column."""
        return self.design.outcome

    @property
    def formula(self) -> str:
        """The model as lme4 writes it."""
        return self.design.formula

    @property
    def method(self) -> str:
        """How it was estimated: REML or ML."""
        return "REML" if self.fit.reml else "ML"

    @property
    def sample(self) -> Sample:
        """Rows, groups, and what was dropped."""
        return self.design.sample

    @property
    def convergence(self) -> Convergence:
        """How the fit ended."""
        return self.fit.convergence

    @property
    def boundary(self) -> list[str]:
        """Which variances are certified as zero, and which correlations as one, in words."""
        return boundary_words(self.design, self.fit)

    @property
    def loglik(self) -> float:
        """The log-likelihood (restricted under REML)."""
        return -self.fit.deviance / 2

    @property
    def params(self) -> pd.Series:
        """The fixed effects."""
        return pd.Series(self.fit.beta.copy(), index=list(self.design.names), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """The covariance of the fixed effects, (X'V^-1 X)^-1."""
        names = list(self.design.names)
        return pd.DataFrame(self.fit.vcov.copy(), index=names, columns=names)

    @cached_property
    def _inference(self) -> Inference:
        try:
            return infer(self.problem, self.fit)
        except ValueError as error:
            raise DataError(f"df: {error}") from None

    def _df(self, df: str) -> str:
        _check.one_of("df", df, DF)
        if df == "kenward-roger" and not self.fit.reml:
            raise DataError("df='kenward-roger': defined for method='reml' only; refit, or use df='satterthwaite'")
        return df

    def _linear(self, rows: Floats, df: str) -> tuple[Floats, Floats, Floats]:
        estimate = rows @ self.fit.beta
        if self._df(df) == "normal":
            variance = np.einsum("kp,pq,kq->k", rows, self.fit.vcov, rows)
            return estimate, np.sqrt(np.maximum(variance, 0.0)), np.full(len(rows), np.inf)
        std_error, freedom = self._inference.contrasts(rows, df)
        return estimate, std_error, freedom

    def _covariance(self, rows: Floats, df: str) -> Floats:
        if self._df(df) == "kenward-roger":
            return self._inference.covariance(rows, df)
        return np.asarray(rows @ self.fit.vcov @ rows.T)

    def tidy(self, *, level: float = 0.95, df: str = "satterthwaite") -> pd.DataFrame:  # type: ignore[override]
        """Return one row a fixed effect, with its interval and test.

        Parameters
        ----------
        level : float
            Level of the intervals, between 0 and 1.
        df : {"satterthwaite", "kenward-roger", "normal"}
            How degrees of freedom are found; Kenward-Roger also widens the standard errors and needs REML.

        References
        ----------
        Kuznetsova et al. 2017, DOI 10.18637/jss.v082.i13; Kenward & Roger 1997, DOI 10.2307/2533558.
        """
        p = len(self.design.names)
        estimate, std_error, freedom = self._linear(np.eye(p), df)
        labels = pd.DataFrame({"term": list(self.design.names)})
        return Estimates({}, "", labels, estimate, std_error, freedom, tests=True, level=level).tidy()

    def contrast(
        self, weights: Mapping[str, float], *, level: float = 0.95, df: str = "satterthwaite", name: str = "contrast"
    ) -> Estimates:
        """Return one linear combination of fixed effects with its interval and test.

        Parameters
        ----------
        weights : mapping of term to number
            Terms that are left out weigh nothing.
        level, df
            As for `tidy`.
        name : str
            What the row is called.
        """
        if not isinstance(weights, Mapping):
            raise DataError(
                f"weights={_check.show(weights)}: not a mapping from term to number; write {self._example(1)}"
            )
        if not weights:
            raise DataError(f"weights={{}}: no term is named; write {self._example(1)}")
        rows = self._weights([weights])
        estimate, std_error, freedom = self._linear(rows, df)
        title = " + ".join(f"{w:g} x {t}" for t, w in weights.items())
        labels = pd.DataFrame({"term": [name]})
        return Estimates(
            {"weights": dict(weights), "df": df}, title, labels, estimate, std_error, freedom, tests=True, level=level
        )

    def joint_test(self, terms: Sequence[str | Mapping[str, float]], *, df: str = "satterthwaite") -> pd.DataFrame:
        """Return one row: are these terms (or linear combinations of terms) all zero?

        Parameters
        ----------
        terms : list of term names, or of mappings from term to weight
        df : {"satterthwaite", "kenward-roger", "normal"}
            Fai and Cornelius' denominator (as lmerTest's, it depends a little on the units of the terms), Kenward and
            Roger's scaled F (which does not), or chi-square / df_num.
        """
        if isinstance(terms, str) or not isinstance(terms, Sequence):
            raise DataError(f"terms={_check.show(terms)}: not a list of terms; write {self._example()}")
        if not terms:
            raise DataError(f"terms=[]: no term is named; write {self._example()}")
        rows = self._weights([t if isinstance(t, Mapping) else {t: 1.0} for t in terms])
        df = self._df(df)
        statistic, numerator, denominator, _ = self._inference.joint(self.fit.beta, rows, df)
        p = (
            special.chdtrc(numerator, statistic * numerator)
            if math.isinf(denominator)
            else special.fdtrc(numerator, denominator, statistic)
            if denominator > 0
            else math.nan
        )
        return pd.DataFrame(
            {"statistic": [statistic], "df_num": [numerator], "df": [denominator], "p_value": [float(p)]}
        )

    def _example(self, weight: int | None = None) -> str:
        term = self.design.names[min(1, len(self.design.names) - 1)]
        return _check.show([term]) if weight is None else f"{{{_check.show(term)}: {weight}}}"

    def _weights(self, given: Sequence[Mapping[str, float]]) -> Floats:
        rows = np.zeros((len(given), len(self.design.names)))
        for k, weights in enumerate(given):
            for term, weight in weights.items():
                if term not in self.design.names:
                    raise DataError(
                        f"term={_check.show(term)}: not in the model{_check.nearest(term, self.design.names)}"
                    )
                rows[k, self.design.names.index(term)] = _check.number("weight", weight)
        return rows

    @property
    def _parameters(self) -> int:
        return len(self.design.names) + sum(len(g) * (len(g) + 1) // 2 for g in self.fit.G) + 1

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole model: sizes, likelihood, criteria, how it ended."""
        n, k, deviance = len(self.design.y), self._parameters, self.fit.deviance
        groups = self.sample.groups
        return pd.DataFrame(
            {
                "rows": [n],
                "patients": [sum(self.sample.patients.values()) or max(groups.values())],
                "groups": [sum(groups.values())],
                "parameters": [k],
                "loglik": [self.loglik],
                "deviance": [deviance],
                "aic": [deviance + 2 * k],
                "bic": [deviance + math.log(n) * k],
                "sigma": [math.sqrt(self.fit.sigma2)],
                "method": [self.method],
                "converged": [self.convergence.converged],
                "boundary": [self.convergence.boundary],
            }
        )

    @cached_property
    def _effects(self) -> list[tuple[Floats, Floats]]:
        return random_effects(self.problem, self.fit)

    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, prediction and residual."""
        fixed = self.design.X @ self.fit.beta
        fitted = fixed + sum(
            np.einsum("nq,nq->n", term.Z, effects[term.of_row])
            for term, (effects, _) in zip(self.design.terms, self._effects, strict=True)
        )
        out = pd.DataFrame({str(k): v for k, v in self.design.roles.items()})
        out.index = self.design.labels
        out["fitted"], out["fixed"] = fitted, fixed
        out["residual"] = self.design.y - fitted
        out["std_residual"] = out["residual"] / math.sqrt(self.fit.sigma2)
        return out

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        *,
        level: float = 0.95,
        interval: str = "confidence",
        new_levels: str = "population",
    ) -> pd.DataFrame:
        """Return the expected outcome of each row of new data, with its interval.

        A patient (or site) that was in the fit gets its own random effects; a new one the population's mean, with its
        random effects' variance in a prediction interval.

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            Columns as in the fit; a missing grouping column means new levels. By default the rows of the fit.
        level : float
        interval : {"confidence", "prediction"}
            Of the expected outcome, or of an outcome that is still to be observed.
        new_levels : {"population", "error"}
            What to do with a patient or site that was not in the fit.

        Notes
        -----
        Standard errors count the fixed effects and the predicted random effects (Henderson 1975, DOI 10.2307/2529430);
        the variances are taken as known. Intervals of the population's mean have Satterthwaite's df, the others are
        normal.
        """
        _check.level(level)
        _check.one_of("interval", interval, ("confidence", "prediction"))
        _check.one_of("new_levels", new_levels, ("population", "error"))
        frame = _check.frame(newdata, "newdata") if newdata is not None else None
        X = self.design.X if frame is None else self.design.fixed_rows(frame)
        Z, values = [], []
        for k, term in enumerate(self.design.terms):
            if frame is None:
                Z.append(term.Z)
                values.append(term.of_row)
                continue
            present = all(c in frame.columns for c in term.columns)
            found = term.find(frame) if present else np.full(len(frame), -1)
            if new_levels == "error" and (found < 0).any():
                raise DataError(
                    f"newdata: {term.group} not in the fit in {_check.rows(frame.index[found < 0])}; "
                    "say new_levels='population' for the population's mean"
                )
            Z.append(self.design.random_rows(frame, k))
            values.append(found)
        estimate = X @ self.fit.beta
        for z, found, (effects, _) in zip(Z, values, self._effects, strict=True):
            estimate = estimate + np.where(found >= 0, np.einsum("nq,nq->n", z, effects[found]), 0.0)
        try:
            variance = covariance_of_prediction(self.problem, self.fit, X, Z, values, new=interval == "prediction")
        except ValueError as error:
            raise DataError(f"predict: {error}") from None
        if interval == "prediction":
            variance = variance + self.fit.sigma2
        std_error = np.sqrt(variance)
        # Satterthwaite's df belong to x'b; the error of a known patient's own effects has none that is agreed on.
        population = np.all([found < 0 for found in values], axis=0) & (interval == "confidence")
        df = np.full(len(X), np.inf)
        if population.any():
            df[population] = self._linear(X[population], "satterthwaite")[2]
        low, high = intervals(estimate, std_error, df, level)
        out = self.augment().iloc[:, : len(self.design.roles)] if frame is None else frame.copy()
        return out.assign(estimate=estimate, std_error=std_error, df=df, conf_low=low, conf_high=high)

    def variances(self) -> pd.DataFrame:
        """Return one row a variance, then one a correlation, the residual last."""
        nan, rows = math.nan, []
        for term, G in zip(self.design.terms, self.fit.G, strict=True):
            sds = np.sqrt(np.diag(G))
            for k, effect in enumerate(term.effects):
                rows.append((term.group, effect, "", G[k, k], sds[k], nan))
            for j in range(len(G)):
                for k in range(j):
                    r = G[j, k] / (sds[j] * sds[k]) if sds[j] > 0 and sds[k] > 0 else nan
                    rows.append((term.group, term.effects[k], term.effects[j], nan, nan, r))
        rows.append(("Residual", "", "", self.fit.sigma2, math.sqrt(self.fit.sigma2), nan))
        return pd.DataFrame(rows, columns=["group", "effect", "other", "variance", "sd", "correlation"])

    def random_effects(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return the predicted deviation of every patient (site, ...) from the fixed effects, with intervals.

        Best linear unbiased predictions; standard errors are conditional on the estimated variances and fixed effects.
        """
        half, parts = special.ndtri(0.5 + _check.level(level) / 2), []
        for term, (effects, sds) in zip(self.design.terms, self._effects, strict=True):
            q = len(term.effects)
            names = pd.Series([":".join(map(str, v)) if isinstance(v, tuple) else v for v in term.levels])
            parts.append(
                pd.DataFrame(
                    {
                        "group": term.group,
                        "level": names.repeat(q).to_numpy(),
                        "effect": list(term.effects) * len(names),
                        "estimate": effects.ravel(),
                        "std_error": sds.ravel(),
                    }
                )
            )
        out = pd.concat(parts, ignore_index=True)
        out["conf_low"], out["conf_high"] = (
            out["estimate"] - half * out["std_error"],
            out["estimate"] + half * out["std_error"],
        )
        return out

    def _random_variance(self) -> float:
        return float(
            sum(
                np.einsum("nq,qr,nr->n", t.Z, G, t.Z).mean() for t, G in zip(self.design.terms, self.fit.G, strict=True)
            )
        )

    def r2(self) -> pd.DataFrame:
        """Return the share of variance explained: by the fixed effects, and by fixed and random effects.

        References
        ----------
        Nakagawa & Schielzeth 2013, DOI 10.1111/j.2041-210x.2012.00261.x; Johnson 2014, DOI 10.1111/2041-210X.12225.
        """
        fixed = float(np.var(self.design.X @ self.fit.beta, ddof=1))
        random, total = self._random_variance(), self.fit.sigma2
        total += fixed + random
        return pd.DataFrame({"r2_marginal": [fixed / total], "r2_conditional": [(fixed + random) / total]})

    def icc(self) -> pd.DataFrame:
        """Return the share of the variance around the fixed effects that lies between groups.

        References
        ----------
        Johnson 2014, DOI 10.1111/2041-210X.12225 (random slopes enter by their mean over the rows).
        """
        random = self._random_variance()
        return pd.DataFrame({"icc": [random / (random + self.fit.sigma2)]})

    def cross_check(self) -> pd.DataFrame:
        """Return every fixed effect next to statsmodels' MixedLM, fitted to standardised columns.

        Raises
        ------
        DataError
            With several grouping factors, which MixedLM does not take beside a random slope.
        """
        from implstats.growth.second_opinion import mixedlm

        return mixedlm(self.design, self.fit)

    def header(self) -> list[str]:
        """Return model, sample and how the fit ended."""
        end = "; ".join(self.boundary)
        lines = [f"Mixed model: {self.formula} ({self.method})", *self.sample.in_words()]
        record = self.convergence
        return [*lines, record.message + (f": {end}" if end else f" in {record.iterations} steps")]

    def _shown(self) -> pd.DataFrame:
        """Return the table to print: with normal intervals where no df can be computed."""
        try:
            return self.tidy()
        except DataError:
            return self.tidy(df="normal")

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self._shown(), "glance": self.glance(), "variances": self.variances()}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it; adds formula, sample and convergence."""
        sample = self.sample
        more = {
            "formula": self.formula,
            "sample": {"given": sample.given, "rows": sample.rows, "added": sample.added}
            | {"dropped": dict(sample.dropped), "groups": {str(k): v for k, v in sample.groups.items()}}
            | {"patients": {str(k): v for k, v in sample.patients.items()}},
            "convergence": self.convergence.to_dict(),
        }
        return super().to_dict() | more
