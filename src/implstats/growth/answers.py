"""What every growth result can say about cohorts: means, contrasts, effect sizes, improvement retained."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError
from implstats.growth.retained import RetainedImprovement
from implstats.results import Estimates

__all__ = ["SDS", "CohortAnswers"]

Floats = NDArray[np.float64]
Rows = tuple[list[dict[str, Any]], Floats]

SDS = ("baseline", "reference", "own", "model")


class CohortAnswers:
    """The questions about cohorts; a model says how its means are linear in its fixed effects, and their covariance."""

    call: Mapping[str, Any]
    better: str | None

    @property
    @abstractmethod
    def outcome(self) -> str:
        """The outcome's column."""

    @property
    @abstractmethod
    def time(self) -> Hashable:
        """The time column."""

    @property
    @abstractmethod
    def cohorts(self) -> tuple[Any, ...]:
        """The cohorts, the reference first."""

    @property
    @abstractmethod
    def baseline(self) -> float:
        """The time that change is counted from."""

    @property
    def reference(self) -> Any:
        """The cohort that the others are compared with."""
        return self.cohorts[0]

    @abstractmethod
    def _mean_rows(self, cohort: int, times: Sequence[float]) -> Floats:
        """Return the contrast (times, p) that gives a cohort's marginal means."""

    @abstractmethod
    def _estimate(self, rows: Floats) -> Floats:
        """Return the estimates of contrasts."""

    @abstractmethod
    def _linear(self, rows: Floats, df: str) -> tuple[Floats, Floats, Floats]:
        """Return estimates, standard errors and df of contrasts."""

    @abstractmethod
    def _covariance(self, rows: Floats, df: str) -> Floats:
        """Return the covariance of contrasts."""

    @abstractmethod
    def _times(self, at: Any, *, later: bool) -> list[float]:
        """Return the times asked for, checked; the default is every observed one (after the baseline if `later`)."""

    @abstractmethod
    def extrapolated(self, cohort: int, time: float) -> bool:
        """Return whether a time lies beyond what was seen of a cohort."""

    @abstractmethod
    def _empty(self, cohort: int, time: float) -> bool:
        """Return whether a visit's mean rests on nobody."""

    @abstractmethod
    def _seen(self, cohort: int, time: float) -> int:
        """Return the number of patients seen."""

    @abstractmethod
    def _baseline_values(self, cohort: int) -> tuple[Floats, Floats]:
        """Return the outcomes observed exactly at the baseline, and how much each counts."""

    @abstractmethod
    def _model_variance(self) -> tuple[float, float]:
        """Return the total variance at the baseline under the model, and the variance of that estimate."""

    def _change_rows(self, cohort: int, times: Sequence[float]) -> Floats:
        return self._mean_rows(cohort, times) - self._mean_rows(cohort, [self.baseline])

    def _start(self) -> str:
        return f"{self.time} {_check.show(self.baseline)}"

    def _sign(self) -> float:
        if self.better is None:
            raise DataError(
                f"better=None: say better='lower' or better='higher' in the call that fitted {self.outcome}, "
                "so that improvement has a sign"
            )
        return -1.0 if self.better == "lower" else 1.0

    def _compared(self) -> list[tuple[int, Any]]:
        """Return number and name of every cohort that is compared with the reference."""
        if len(self.cohorts) == 1:
            raise DataError(
                "cohort=None: all patients are on one course, so there are no cohorts to compare; ask interruption() "
                "or moderation(), or name the cohorts in the call that fitted"
            )
        return list(enumerate(self.cohorts))[1:]

    def _estimates(
        self, title: str, labels: list[dict[str, Any]], rows: Floats, df: str, level: float, **more: Any
    ) -> Estimates:
        _check.level(level)
        estimate, std_error, freedom = self._linear(rows, df)
        notes = tuple(more.pop("notes", ()))
        return Estimates(
            {"df": df, "level": level},
            title,
            labels,
            estimate,
            std_error,
            freedom,
            notes,
            level=level,
            **more,
        )

    def means(self, at: Any = None, *, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return the estimated marginal mean of every cohort at every time.

        Covariates are held at their mean over the rows used, factor levels are weighted equally.

        Parameters
        ----------
        at : time or list of times, optional
            In the unit of the time column; by default every observed time.
        level : float
            Level of the intervals.
        df : {"auto", "satterthwaite", "kenward-roger", "normal"}
            How degrees of freedom are found; by default Satterthwaite's, normal with patient_weights.
        """
        return self._estimates(f"Estimated marginal means of {self.outcome}", *self.rows_of_means(at), df, level)

    def rows_of_means(self, at: Any) -> Rows:
        """Return labels and contrasts of every cohort's means."""
        times = self._times(at, later=False)
        labels, rows = [], []
        for c, name in enumerate(self.cohorts):
            seen = [t for t in times if not self._empty(c, t)]
            labels += [
                {"cohort": name, "time": t, "n": self._seen(c, t), "extrapolated": self.extrapolated(c, t)}
                for t in seen
            ]
            rows.append(self._mean_rows(c, seen))
        return labels, np.vstack(rows)

    def contrasts(self, at: Any = None, *, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return each cohort minus the reference: in level, and in change since the baseline.

        Parameters are those of `means`; by default `at` is every observed time after the baseline.
        """
        title = f"Cohort minus reference in {self.outcome}: level, and change since {self._start()}"
        return self._estimates(title, *self.rows_of_contrasts(at), df, level, tests=True)

    def rows_of_contrasts(self, at: Any) -> Rows:
        """Return labels and contrasts of every cohort minus the reference: levels, then changes."""
        asked = self._times(at, later=at is None)
        labels, rows = [], []
        for c, name in self._compared():
            for quantity, row in (("level", self._mean_rows), ("change", self._change_rows)):
                times = [t for t in asked if quantity == "level" or t != self.baseline]
                if not times:
                    continue
                labels += [
                    {
                        "cohort": name,
                        "reference": self.reference,
                        "time": t,
                        "quantity": quantity,
                        "extrapolated": self.extrapolated(c, t) or self.extrapolated(0, t),
                    }
                    for t in times
                ]
                rows.append(row(c, times) - row(0, times))
        return labels, np.vstack(rows)

    def changes(self, at: Any = None, *, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return every cohort's improvement since the baseline, positive is better, in units of the outcome.

        Parameters are those of `contrasts`; needs `better=`.
        """
        title = f"Improvement in {self.outcome} since {self._start()}, positive is better"
        return self._estimates(title, *self.rows_of_changes(at), df, level, tests=True)

    def rows_of_changes(self, at: Any) -> Rows:
        """Return labels and contrasts of every cohort's improvement, cohort by cohort."""
        sign, times = self._sign(), self._times(at, later=True)
        labels, rows = [], []
        for c, name in enumerate(self.cohorts):
            labels += [{"cohort": name, "time": t, "extrapolated": self.extrapolated(c, t)} for t in times]
            rows.append(sign * self._change_rows(c, times))
        return labels, np.vstack(rows)

    def effect_sizes(
        self,
        at: Any = None,
        *,
        sd: str | float = "baseline",
        level: float = 0.95,
        df: str = "auto",
    ) -> Estimates:
        """Return the standardised improvement d of every cohort, and its difference from the reference.

        d = improvement since the baseline / SD; positive is better (needs `better=`). Its variance counts the
        uncertainty of the SD: var(change) / SD^2 + d^2 var(SD^2) / (4 SD^4).

        Parameters
        ----------
        at : time or list of times, optional
        sd : {"baseline", "reference", "own", "model"} or float
            "baseline": observed at the baseline, pooled over cohorts; "reference": of the reference cohort; "own": of
            each cohort; "model": root of the model's total variance at the baseline; or a known SD.
        level, df
            As for `means`.

        References
        ----------
        Feingold 2009, Psychological Methods, DOI 10.1037/a0014699.
        """
        sign, times = self._sign(), self._times(at, later=True)
        sds = [self._sd(sd, c) for c in range(len(self.cohorts))]
        source = sd if isinstance(sd, str) else "given"
        labels, estimate, variance, freedom = [], [], [], []
        for c, name in enumerate(self.cohorts):
            for against in [None, 0] if c else [None]:
                rows = sign * self._change_rows(c, times) / sds[c][0]
                uncertain = [(c, self._estimate(rows))]
                if against is not None:
                    minus = sign * self._change_rows(0, times) / sds[0][0]
                    uncertain.append((0, self._estimate(minus)))
                    rows = rows - minus
                d, se, dof = self._linear(rows, df)
                estimate.append(d)
                variance.append(se**2 + self._sd_share(uncertain, sds, shared=sd != "own"))
                freedom.append(dof)
                labels += [
                    {
                        "quantity": "d" if against is None else "difference",
                        "cohort": name,
                        "reference": self.reference,
                        "time": t,
                        "sd_source": source,
                        "sd": sds[c][0],
                        "extrapolated": self.extrapolated(c, t) or (against is not None and self.extrapolated(0, t)),
                    }
                    for t in times
                ]
        words = {"baseline": "observed at the baseline, pooled over cohorts", "own": "of each cohort at the baseline"}
        words |= {"reference": f"of {self.reference} at the baseline", "model": "of the model at the baseline"}
        values = ", ".join(f"{value:.4g}" for value, _ in (sds if sd == "own" else sds[:1]))
        return Estimates(
            {"sd": sd, "df": df, "level": level},
            f"Standardised improvement d in {self.outcome} since {self._start()}, positive is better",
            labels,
            np.concatenate(estimate),
            np.sqrt(np.concatenate(variance)),
            np.concatenate(freedom),
            (f"divided by the SD {words.get(str(sd), 'given')}: {values}",),
            level=_check.level(level),
        )

    def _sd_share(self, parts: list[tuple[int, Floats]], sds: list[tuple[float, float]], *, shared: bool) -> Floats:
        """Return what the uncertain SD adds to the variance of d (of a difference, if there are two parts)."""
        relative = [var / (4 * sd**4) for sd, var in sds]
        if shared:
            d = parts[0][1] - (parts[1][1] if len(parts) > 1 else 0.0)
            return np.asarray(d**2 * relative[0])
        return np.asarray(sum(d**2 * relative[c] for c, d in parts))

    def _sd(self, sd: str | float, cohort: int) -> tuple[float, float]:
        """Return an SD and the variance of its square."""
        if not isinstance(sd, str):
            return _check.number("sd", sd, above=0), 0.0
        _check.one_of("sd", sd, SDS)
        if sd == "model":
            square, variance = self._model_variance()
            return math.sqrt(square), variance
        which = {"baseline": range(len(self.cohorts)), "reference": [0], "own": [cohort]}[sd]
        values = [self._baseline_values(c) for c in which]
        for c, (seen, _) in zip(which, values, strict=True):
            if len(seen) < 2:
                values_seen = f"{len(seen)} value{'s' if len(seen) != 1 else ''}"
                raise DataError(
                    f"sd={sd!r}: cohort {_check.show(self.cohorts[c])} has {values_seen} at "
                    f"{self.time}={_check.show(self.baseline)}; "
                    "say sd='model', or give the SD of a norm group"
                )
        # With weights, of as many patients as the weighted ones are worth (Kish 1965).
        worth = [float(w.sum() ** 2 / (w @ w)) for _, w in values]
        spread = [float(np.cov(v, aweights=w, bias=True)) for v, w in values]
        df = sum(worth) - len(values)
        square = sum(n * s for n, s in zip(worth, spread, strict=True)) / df
        if square == 0:
            raise DataError(f"sd={sd!r}: the outcome does not vary at the baseline; say sd='model'")
        return math.sqrt(square), 2 * square**2 / df

    def retained_improvement(
        self,
        at: Any = None,
        *,
        method: str = "fieller",
        as_: str = "retained",
        level: float = 0.95,
        df: str = "auto",
        draws: int = 999,
        rng: int | np.random.Generator | None = None,
    ) -> RetainedImprovement:
        """Return how much of the reference cohort's improvement each other cohort keeps.

        theta = change of the cohort / change of the reference. With no untreated group both changes include what
        would have happened untreated.

        Parameters
        ----------
        at : time or list of times, optional
        method : {"fieller", "delta", "bootstrap"}
            Fieller's set is right also where the reference hardly changed, and is then unbounded; "bootstrap" draws
            patients within cohorts (`implstats.bootstrap`, whose result answers further questions from the same draws).
        as_ : {"retained", "times"}
            "times" is the inverse: how many times as effective the reference was.
        level, df
            As for `means`.
        draws, rng
            For "bootstrap": how many draws, and a number that makes them the same again.

        References
        ----------
        Fieller 1954, DOI 10.1111/j.2517-6161.1954.tb00159.x.
        """
        _check.one_of("method", method, ("fieller", "delta", "bootstrap"))
        _check.one_of("as_", as_, ("retained", "times"))
        if method == "bootstrap":
            from implstats.growth.bootstrap import FEWEST, bootstrap

            draws = _check.whole("draws", draws, least=FEWEST, remedy="999 serve 95 % intervals")
            return bootstrap(self, n=draws, rng=rng).retained_improvement(at, as_=as_, level=level)  # type: ignore[arg-type]
        found = self.retained_after([0.0], at, df=df, level=level)
        labels = {k: v for k, v in found.labels.items() if k != "natural"}
        call = {"method": method, "as_": as_, "df": df, "level": level}
        return replace(found, call=call, labels=labels, method=method, as_=as_)

    def retained_after(
        self, natural: Sequence[float], at: Any = None, *, level: float = 0.95, df: str = "auto"
    ) -> RetainedImprovement:
        """Return the improvement retained, with Fieller's set, after the same change was taken from both cohorts.

        theta(c) = (change of the cohort - c) / (change of the reference - c), one row a cohort, time and c.

        Parameters
        ----------
        natural : list of float
            Values of c, improvement that would have happened untreated, in units of the outcome.
        at, level, df
            As for `means`.
        """
        sign, times = self._sign(), self._times(at, later=True)
        taken = np.array([_check.number("natural", c) for c in natural])
        labels, change, other, covariance, freedom = [], [], [], [], []
        b_rows = sign * self._change_rows(0, times)
        for c, name in self._compared():
            a_rows = sign * self._change_rows(c, times)
            a, b = self._estimate(a_rows), self._estimate(b_rows)
            for k, t in enumerate(times):
                beyond = self.extrapolated(c, t) or self.extrapolated(0, t)
                label = {"cohort": name, "reference": self.reference, "time": t, "extrapolated": beyond}
                labels += [label | {"natural": value} for value in taken.tolist()]
                V = self._covariance(np.vstack([a_rows[k], b_rows[k]]), df)
                left, of = a[k] - taken, b[k] - taken
                theta = left / np.where(of == 0, np.inf, of)
                freedom.append(self._linear(a_rows[k] - theta[:, None] * b_rows[k], df)[2])
                covariance.append(np.broadcast_to(V, (len(taken), 2, 2)))
                change.append(left)
                other.append(of)
        return RetainedImprovement(
            {"natural": taken.tolist(), "df": df, "level": level},
            labels,
            np.concatenate(change),
            np.concatenate(other),
            np.concatenate(covariance),
            np.concatenate(freedom),
            "fieller",
            "retained",
            _check.level(level),
            str(self.time),
        )
