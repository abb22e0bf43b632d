"""Models of the same rows compared: likelihood ratios with the distribution that each has, AIC and BIC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check, _parallel
from implstats._check import Faults
from implstats.errors import ConvergenceError, DataError
from implstats.growth.nested import Arrays, Model, inside, mixture, tail
from implstats.growth.refits import Refits
from implstats.results import Result

__all__ = ["ModelComparison", "compare_models"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# In units of -2 log-likelihood: what two optima differ by without a reason, and what is no longer rounding.
NOTHING, WORSE = 1e-6, 1e-3
# Draws in one piece of work, fewer where rows x draws would pass the second number.
PIECE, HELD = 100, 20_000_000


@dataclass(frozen=True, slots=True)
class Compared:
    """One model, and how it fares against the one above it; the fields are the columns of the table."""

    model: str
    parameters: int
    loglik: float
    deviance: float
    aic: float
    bic: float
    statistic: float = math.nan
    df: float = math.nan
    p_value: float = math.nan
    reference_distribution: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison(Result):
    """Models of the same rows, from the fewest parameters to the most, each against the one above it.

    Attributes
    ----------
    compared : tuple of Compared
        One a model.
    rows : int
        Rows that every model was fitted to.
    method : str
        REML or ML.
    notes : tuple of str
    """

    compared: tuple[Compared, ...]
    rows: int
    method: str
    notes: tuple[str, ...] = ()

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a model, in the order of their numbers of parameters; tests are against the row above."""
        return pd.DataFrame([asdict(row) for row in self.compared])

    def glance(self) -> pd.DataFrame:
        """Return one row: how many rows all models rest on, and how they were fitted."""
        return pd.DataFrame({"rows": [self.rows], "method": [self.method]})

    def header(self) -> list[str]:
        """Return what was compared, what the statistic and p-value say, and which model each criterion prefers."""
        head = f"{len(self.compared)} models of the same {self.rows} rows ({self.method})"
        lines = [f"{head}, each against the row above"]
        if any(not math.isnan(row.statistic) for row in self.compared):
            lines.append(
                "statistic: by how much -2 log-likelihood falls for df more parameters; p_value: how often it falls as "
                "far in data that the smaller model makes. A small p speaks against the smaller model, a large one "
                "does not prove it"
            )
        lowest = {word: min(self.compared, key=lambda row: getattr(row, word)).model for word in ("aic", "bic")}
        return [*lines, f"lowest AIC: {lowest['aic']}; lowest BIC: {lowest['bic']}", *self.notes]


def compare_models(
    a: Model,
    b: Model,
    *more: Model,
    rng: int | np.random.Generator | None = None,
    draws: int = 999,
    workers: int = 1,
) -> ModelComparison:
    """Do the data speak for the larger of two models, and which of several do AIC and BIC prefer?

    Models are put in order of their parameters, and each is compared with the one above it. Where that one is a special
    case, the likelihood ratio is tested against the distribution that it then has, which the table names.

    Parameters
    ----------
    a, b, *more : results of fit_growth, fit_mixed or fit_mmrm
        Fitted to the same rows by the same method.
    rng : int, numpy.random.Generator or None
        Of the parametric bootstrap; a whole number gives the same draws every time.
    draws : int
        Outcomes drawn from the smaller model, where no distribution is known.
    workers : int
        Processes that share the draws; their number does not change the result.

    Returns
    -------
    ModelComparison

    Raises
    ------
    DataError
        For anything but fitted models, fits to different rows or outcomes, a mix of REML and ML, and REML fits with
        different fixed effects.
    ConvergenceError
        If a model fits worse than its own special case, or hardly any draw can be fitted.

    Notes
    -----
    Chi-square where only fixed effects differ, and for variances and correlations that are not on the edge of what they
    can be (residual variances by stratum, AR(1), covariances of visits). One more variance: half chi2(0), half chi2(1).
    A slope that is correlated with an intercept that was there: half chi2(1), half chi2(2). Whatever else differs, and
    wherever the smaller model has a variance at zero itself: a parametric bootstrap, p = (1 + draws that reach the
    statistic) / (1 + draws). Chi-squares and their mixtures hold for many groups: with few of them a variance's p-value
    is too large, and a fixed effect's too small (`joint_test` with Kenward and Roger's df is the better test).

    References
    ----------
    Self & Liang 1987, DOI 10.1080/01621459.1987.10478472; Stram & Lee 1994, DOI 10.2307/2533455; Crainiceanu & Ruppert
    2004, DOI 10.1111/j.1467-9868.2004.00438.x (few groups).

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> level, slope = (ist.fit_mixed(visits, formula=f"bsi ~ month * cohort + {random}")
    ...                 for random in ("(1 | patient)", "(1 + month | patient)"))
    >>> ist.compare_models(level, slope).tidy()["reference_distribution"].tolist()
    ['', 'mixture of chi2(1) and chi2(2)']
    """
    models = {"a": a, "b": b} | {f"more[{k}]": model for k, model in enumerate(more)}
    faults = Faults()
    faults.ask(_check.whole, "draws", draws, least=99, remedy="999 is a good number")
    faults.ask(_check.whole, "workers", workers)
    seed = faults.ask(_parallel.seed_of, rng)
    orders = _orders(models, faults)
    faults.settle()
    for model in models.values():
        model.refuse_weights("compare_models")
    fits = [_Fitted(model, order, a) for model, order in zip(models.values(), orders, strict=True)]
    fits.sort(key=lambda fit: fit.parameters)
    compared, notes = [fits[0].row()], []
    for k, (small, big) in enumerate(pairwise(fits)):
        row, said = _against(small, big, draws, workers, (seed, k))
        compared.append(row)
        notes += said
    if any(fit.recoded for fit in fits):
        notes.append(f"restricted log-likelihoods are on the coding of the fixed effects of {_label(a)}")
    if rng is None and any("bootstrap" in row.reference_distribution for row in compared):
        notes.append("without rng= the p-values of a bootstrap differ a little from call to call")
    call = {
        "models": [_label(m) for m in models.values()],
        "rng": rng if isinstance(rng, int) else None,
        "draws": draws,
    }
    return ModelComparison(call, tuple(compared), len(a.design.y), a.method, tuple(notes))


def _orders(models: Mapping[str, Any], faults: Faults) -> list[Ints]:
    """Return each model's rows in the order of the first one's; what cannot be compared is recorded."""
    strangers = {name: model for name, model in models.items() if not isinstance(model, Model)}
    for name, model in strangers.items():
        faults.say(
            f"{name}: a {type(model).__name__} is not a fitted model; give results of fit_growth, fit_mixed or fit_mmrm"
        )
    if strangers:
        return []
    first = models["a"]
    orders = [faults.ask(_order, name, model, first) for name, model in models.items()]
    methods = {name: model.method for name, model in models.items()}
    if len(set(methods.values())) > 1:
        said = ", ".join(f"{name} by {method}" for name, method in methods.items())
        faults.say(f"method: {said}; their likelihoods do not compare, so fit all by the same")
    elif first.method == "REML":
        others = {n: m.design.X[o] for (n, m), o in zip(models.items(), orders, strict=True) if o is not None}
        apart = [name for name, X in others.items() if not (inside(X, first.design.X) and inside(first.design.X, X))]
        if apart:
            faults.say(
                "method='reml': restricted likelihoods do not compare across fixed effects, and those of "
                f"{', '.join(apart)} are not those of a; fit all with method='ml'"
            )
    return orders


def _order(name: str, model: Model, first: Model) -> Ints:
    """Return where a model has the rows of the first one, or refuse."""
    mine, theirs = model.design.labels, first.design.labels
    order = np.arange(len(theirs))
    if not mine.equals(theirs):
        remedy = "keep the rows that every model can use, and fit all to them"
        if not (mine.is_unique and theirs.is_unique):
            sizes = f"{len(mine)} rows, {len(theirs)} in a, and labels that repeat"
            raise DataError(f"{name}: not fitted to the rows of a ({sizes}); {remedy}")
        apart = [*mine.difference(theirs, sort=False), *theirs.difference(mine, sort=False)]
        if apart:
            raise DataError(f"{name}: not fitted to the rows of a ({_check.rows(apart)} in one only); {remedy}")
        order = mine.get_indexer(theirs)
    differ = model.design.y[order] != first.design.y
    if differ.any():
        raise DataError(
            f"{name}: another outcome than in a in {_check.rows(theirs[differ])}; likelihoods of different outcomes do "
            "not compare"
        )
    return order


def _label(model: Model) -> str:
    residual = f", residual={_check.show(model.design.residual)}"
    return model.formula + (residual if model.design.residual != "iid" else "")


class _Fitted:
    """A model, its rows in the order of the first model's, and its likelihood on the coding of the first model's X."""

    def __init__(self, model: Model, order: Ints, first: Model) -> None:
        self.model, self.order, self.arrays = model, order, Arrays(model, order)
        self.parameters = int(model.glance()["parameters"].iloc[0])
        self.recoded = model.method == "REML" and not np.array_equal(self.arrays.X, first.design.X)
        # REML's -2 log-likelihood holds log|X'V^-1 X|, which another coding of the same columns moves by a constant.
        self.shift = _log_volume(first.design.X) - _log_volume(self.arrays.X) if self.recoded else 0.0
        self.deviance = -2 * model.loglik + self.shift

    def row(self, **test: Any) -> Compared:
        """Return the model's row of the table."""
        k, deviance = self.parameters, self.deviance
        criteria = deviance + 2 * k, deviance + math.log(len(self.order)) * k
        return Compared(_label(self.model), k, -deviance / 2, deviance, *criteria, **test)


def _log_volume(X: Floats) -> float:
    """Return log|X'X|."""
    norms = np.linalg.norm(X, axis=0)
    return 2 * float(np.log(np.abs(np.diag(np.linalg.qr(X / norms, mode="r")))).sum() + np.log(norms).sum())


def _against(
    small: _Fitted, big: _Fitted, draws: int, workers: int, key: tuple[int, int]
) -> tuple[Compared, list[str]]:
    """Return the larger model's row, tested against the smaller, and what a reader must know of the test."""
    df = big.parameters - small.parameters
    parts = mixture(small.arrays, big.arrays, df)
    if parts is None or df == 0:
        why = "not nested" if parts is None else "as many parameters"
        return big.row(reference_distribution=f"{why}: criteria only"), []
    statistic = small.deviance - big.deviance
    if statistic < -WORSE:
        worse = f"{_label(big.model)}: fits worse than its own special case {_label(small.model)}"
        raise ConvergenceError(worse, big.model.convergence.to_dict())
    statistic = statistic if statistic > NOTHING else 0.0
    said: list[str] = []
    if parts:
        words = [f"chi2({k})" for k in parts]
        distribution = words[0] if len(words) == 1 else f"mixture of {' and '.join(words)}"
        p_value = tail(statistic, parts)
    else:
        drawn = _bootstrap(small, big, draws, workers, key)
        p_value = float(1 + (drawn >= statistic - NOTHING).sum()) / (1 + len(drawn))
        distribution = f"parametric bootstrap ({len(drawn)} draws)"
        if lost := draws - len(drawn):
            said = [f"{_label(big.model)}: {lost} of {draws} draws could not be fitted"]
    return big.row(statistic=statistic, df=float(df), p_value=p_value, reference_distribution=distribution), said


def _bootstrap(small: _Fitted, big: _Fitted, draws: int, workers: int, key: tuple[int, int]) -> Floats:
    """Return the likelihood ratios of outcomes drawn from the smaller model, as far as both could be fitted."""
    refits = Refits(small.model), Refits(big.model)
    place = small.order[np.argsort(big.order)]
    size = min(PIECE, max(1, HELD // len(place)))
    tasks = [(*refits, place, min(size, draws - start), *key, start) for start in range(0, draws, size)]
    drawn = np.concatenate(_parallel.run(_gains, tasks, workers)) + small.shift - big.shift
    if len(drawn) < draws / 2:
        raise ConvergenceError(
            f"{_label(big.model)}: {draws - len(drawn)} of {draws} draws from {_label(small.model)} could not be fitted"
        )
    return drawn


def _gains(small: Refits, big: Refits, place: Ints, draws: int, *key: int) -> Floats:
    """Return what the larger model gains on outcomes of the smaller one; `place` is where it finds its rows there."""
    outcomes = small.simulate(draws, _parallel.generators(*key))
    lower, upper = small.redrawn(outcomes), big.redrawn(outcomes[place])
    return np.asarray((lower.deviance - upper.deviance)[lower.good & upper.good])
