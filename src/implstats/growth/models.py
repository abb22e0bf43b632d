"""The result of a mixed model: terms, variances, predictions, and a second opinion."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core import mixed, residual
from implstats._core.inference import Inference, infer
from implstats._core.prediction import covariance_of_prediction, random_effects
from implstats._core.structure import AliasedError, Block, LeastSquares, Problem, least_squares
from implstats._core.weighted import fit_mixed as fit_weighted
from implstats._core.written import identified, infer_written
from implstats.design import Design
from implstats.design.residual import precision_of
from implstats.errors import BoundaryWarning, ConvergenceError, DataError
from implstats.growth.fixed import METHODS, FixedEffects
from implstats.results import intervals, lock

__all__ = ["MixedResult", "aliased_terms", "blocks_of", "check_design", "fit_design", "inference_of", "warn_boundary"]

Floats = NDArray[np.float64]

PERFECT = 1e-26
NO_ERROR = 1e-10


def check_design(design: Design, variances: int) -> LeastSquares:
    """Return least squares of the design, or refuse: too few rows, aliased terms, nothing left to explain."""
    n, p = design.X.shape
    if n <= p:
        raise DataError(f"{n} rows for {p} fixed effects; use fewer terms")
    if n - p < variances:
        raise DataError(f"{n} rows for {p} fixed effects and {variances} variances and correlations; use fewer terms")
    try:
        known = least_squares(design.y, design.X)
    except AliasedError as error:
        raise aliased_terms(design, error) from None
    rest = known[0][:, -1]
    if rest @ rest <= PERFECT * float(design.y @ design.y):
        raise perfect(design)
    return known


def aliased_terms(design: Design, error: AliasedError) -> DataError:
    """Return the complaint about columns that are linear combinations of others, by name."""
    names = design.names if error.matrix == "X" else design.terms[int(error.matrix)].effects
    wrong = ", ".join(_check.show(names[j]) for j in error.columns)
    return DataError(f"{wrong}: a linear combination of the other terms, or empty; drop it, or merge the categories")


def perfect(design: Design) -> DataError:
    """Return the complaint about an outcome without error."""
    return DataError(
        f"outcome={_check.show(design.outcome)}: the model fits it perfectly, so there is no error to judge by; "
        "look at how it was made"
    )


def blocks_of(design: Design) -> list[Block]:
    """Return the random-effects terms as the engine takes them."""
    return [Block(t.of_row, len(t.levels), t.Z) for t in design.terms]


def fit_design(design: Design, method: str) -> tuple[Problem, mixed.Fit]:
    """Return the prepared problem and its fit; columns that are linear combinations of others are named."""
    _check.one_of("method", method, METHODS)
    structure, blocks = design.noise.structure, blocks_of(design)
    covariances = sum(len(t.effects) * (len(t.effects) + 1) // 2 for t in design.terms)
    _refuse_levels_that_change(design)
    known = check_design(design, covariances + structure.levels + (structure.position is not None))
    try:
        if design.weight is not None:
            return fit_weighted(design.y, design.X, blocks, design.weight)
        if not structure.plain and not identified(blocks, structure):
            raise DataError(
                f"residual={_check.show(design.residual)}: with these visits it cannot be told from the random "
                "effects; use fewer random effects, or residual='iid'"
            )
        problem, fit = residual.fit(design.y, design.X, blocks, structure, reml=method == "reml", known=known)
    except AliasedError as error:
        raise aliased_terms(design, error) from None
    except ConvergenceError as error:
        raise ConvergenceError(f"{design.formula}: {error}", error.record) from None
    except np.linalg.LinAlgError:
        raise perfect(design) from None
    if residual_variance(design, fit).mean() < NO_ERROR * float(np.var(design.y)):
        raise perfect(design)
    return problem, fit


def _refuse_levels_that_change(design: Design) -> None:
    """Refuse AR(1) along rows of several levels: whitening would mix their random effects."""
    structure = design.noise.structure
    if structure.series is None:
        return
    later, earlier, _ = structure.previous()
    for term in design.terms:
        changed = term.of_row[later] != term.of_row[earlier]
        if changed.any():
            raise DataError(
                f"residual={_check.show(design.residual)}: {term.group} changes along a series "
                f"({_check.rows(design.labels[later[changed]])}), which AR(1) does not take; leave {term.group} out, "
                "or say residual='iid'"
            )


def inference_of(design: Design, X: Floats, problem: Problem, fit: mixed.Fit) -> Inference:
    """Return what tests need, by the road that the residuals ask for; X may hold more columns than the design's."""
    if design.noise.structure.plain:
        return infer(problem, fit)
    return infer_written(design.y, X, blocks_of(design), design.noise.structure, problem, fit)


def residual_variance(design: Design, fit: mixed.Fit) -> Floats:
    """Return the residual variance of every row."""
    structure = design.noise.structure
    return np.asarray(fit.sigma2 * fit.ratios[structure.strata] / structure.precision)


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
            if v * z <= 1e-10 * residual_variance(design, fit).mean()
        ]
        if gone:
            said.append(f"the variance of {' and '.join(gone)} between {groups} is 0")
        elif len(term.effects) == 2:
            sign = "1" if G[0, 1] > 0 else "-1"
            said.append(f"the correlation of {term.effects[0]} and {term.effects[1]} between {groups} is {sign}")
        else:
            said.append(f"the covariance of {', '.join(term.effects)} between {groups} has rank {root.shape[1]}")
    if fit.rho == 0.0:
        said.append("the correlation of residuals is 0")
    return said


def warn_boundary(result: MixedResult) -> None:
    """Warn once of a variance at zero, in the frame of the user's call."""
    if result.convergence.boundary:
        warnings.warn(f"{result.formula}: {'; '.join(result.boundary)}", BoundaryWarning, stacklevel=3)


@dataclass(frozen=True, eq=False, repr=False)
class MixedResult(FixedEffects):
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
    def boundary(self) -> list[str]:
        """Which variances are certified as zero, and which correlations as one, in words."""
        return boundary_words(self.design, self.fit)

    @cached_property
    def _inference(self) -> Inference:
        try:
            return inference_of(self.design, self.design.X, self.problem, self.fit)
        except ValueError as error:
            raise DataError(f"df: {error}") from None

    @property
    def _parameters(self) -> int:
        covariances = sum(len(g) * (len(g) + 1) // 2 for g in self.fit.G)
        return len(self.design.names) + covariances + len(self.fit.ratios) + (self.fit.rho is not None)

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole model: sizes, likelihood, criteria (none of weighted ones), how it ended."""
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
                "aic": [math.nan if self._weighted else deviance + 2 * k],
                "bic": [math.nan if self._weighted else deviance + math.log(n) * k],
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
        out["std_residual"] = out["residual"] / self._residual_sd
        return out

    @cached_property
    def _residual_sd(self) -> Floats:
        structure = self.design.noise.structure
        return np.sqrt(self.fit.sigma2 * self.fit.ratios[structure.strata] / structure.precision)

    def _new_residual_variance(self, frame: pd.DataFrame | None) -> Floats:
        """Return the residual variance of each row of new data."""
        if frame is None:
            return self._residual_sd**2
        noise = self.design.noise
        strata = np.zeros(len(frame), dtype=np.intp)
        faults = Faults()
        for column in (noise.column, noise.precision):
            if column is not None and column not in frame.columns:
                faults.say(f"newdata: no column {_check.show(column)}{_check.nearest(column, frame.columns)}")
        faults.settle()
        if noise.levels:
            strata = noise.strata(frame[noise.column].tolist(), "newdata")
        precision = np.ones(len(frame))
        if noise.precision is not None:
            precision = precision_of(frame, noise.precision, faults)
            faults.settle()
        return np.asarray(self.fit.sigma2 * self.fit.ratios[strata] / precision)

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
        normal. An AR(1) correlation with the rows of the fit is not used.
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
            variance = variance + self._new_residual_variance(frame)
        std_error = np.sqrt(variance)
        # Satterthwaite's df belong to x'b; the error of a known patient's own effects has none that is agreed on.
        population = np.all([found < 0 for found in values], axis=0) & (interval == "confidence")
        df = np.full(len(X), np.inf)
        if population.any():
            df[population] = self._linear(X[population], "auto")[2]
        low, high = intervals(estimate, std_error, df, level)
        out = self.augment().iloc[:, : len(self.design.roles)] if frame is None else frame.copy()
        return out.assign(estimate=estimate, std_error=std_error, df=df, conf_low=low, conf_high=high)

    def variances(self, *, level: float | None = None) -> pd.DataFrame:
        """Return one row a variance, then one a correlation, the residuals' last.

        Residuals that differ have a row for each stratum; with AR(1) the last row is the correlation of residuals one
        step apart.

        Parameters
        ----------
        level : float, optional
            Adds conf_low and conf_high of every sd, and of AR(1)'s correlation, by profile likelihood.

        References
        ----------
        Venzon & Moolgavkar 1988, DOI 10.2307/2347496.
        """
        nan, rows = math.nan, []
        for term, G in zip(self.design.terms, self.fit.G, strict=True):
            sds = np.sqrt(np.diag(G))
            for k, effect in enumerate(term.effects):
                rows.append((term.group, effect, "", G[k, k], sds[k], nan))
            for j in range(len(G)):
                for k in range(j):
                    r = G[j, k] / (sds[j] * sds[k]) if sds[j] > 0 and sds[k] > 0 else nan
                    rows.append((term.group, term.effects[k], term.effects[j], nan, nan, r))
        noise = self.design.noise
        for name, ratio in zip(noise.names(), self.fit.ratios, strict=True):
            variance = self.fit.sigma2 * ratio
            rows.append(("Residual", name, "", variance, math.sqrt(variance), nan))
        if self.fit.rho is not None:
            rows.append(("Residual", str(noise.time), f"{noise.step:g} apart", nan, nan, self.fit.rho))
        table = pd.DataFrame(rows, columns=["group", "effect", "other", "variance", "sd", "correlation"])
        if level is None:
            return table
        self.refuse_weights("variances(level=)")
        from implstats.growth.profiles import with_intervals

        return with_intervals(self, table, level)

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
        random = self._random_variance()
        total = fixed + random + float((self._residual_sd**2).mean())
        return pd.DataFrame({"r2_marginal": [fixed / total], "r2_conditional": [(fixed + random) / total]})

    def icc(self) -> pd.DataFrame:
        """Return the share of the variance around the fixed effects that lies between groups.

        References
        ----------
        Johnson 2014, DOI 10.1111/2041-210X.12225 (random slopes enter by their mean over the rows).
        """
        random = self._random_variance()
        return pd.DataFrame({"icc": [random / (random + float((self._residual_sd**2).mean()))]})

    def cross_check(self) -> pd.DataFrame:
        """Return every fixed effect next to statsmodels' MixedLM, fitted to standardised columns.

        Raises
        ------
        DataError
            With several grouping factors, which MixedLM does not take beside a random slope, or residuals that differ.
        """
        from implstats.growth.second_opinion import mixedlm

        self.refuse_weights("cross_check")

        return mixedlm(self.design, self.fit)

    def header(self) -> list[str]:
        """Return model, sample and how the fit ended."""
        end = "; ".join(self.boundary)
        lines = [f"Mixed model: {self.formula} ({self.method})", *self.sample.in_words()]
        lines += [words] if (words := self.design.noise.in_words()) else []
        record = self.convergence
        return [*lines, record.message + (f": {end}" if end else f" in {record.iterations} steps")]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self._shown(), "glance": self.glance(), "variances": self.variances()}
