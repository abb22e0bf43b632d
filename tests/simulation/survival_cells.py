"""Survival models: programmes in organisations, restricted means, curves, competing causes, and very few programmes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pandas as pd
import programmes
import scipy.integrate
from causes import FineGray, Gray
from cell import REPLICATES, Cell
from survival_base import EFFECTS, NOTHING, TERMS, Rows, SurvivalCell, of_test, rows, tabled

import implstats as ist

TIMES = {"duration": "years", "event": "stopped"}


@dataclass(frozen=True)
class Organisations(SurvivalCell):
    """Programmes of organisations that share a frailty; the treatment is the organisation's."""

    name: str
    count: int
    frailty: str

    @property
    def ways(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        marginal = {"Cox": dict.fromkeys(("naive", "cluster", "cluster, t"), TERMS)}
        if self.frailty == "positive stable frailty":
            return marginal
        return marginal | {"gamma frailty": {"Wald": TERMS, "likelihood ratio": ("frailty variance",)}}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        frame = programmes.organisations(self.count, rng)
        return programmes.stopped(frame, programmes.frailties(self.frailty, self.count, rng), EFFECTS[truth], rng)

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        """Return the log hazard ratios within an organisation, or those over all organisations that Cox's model has."""
        b, gamma = np.array(EFFECTS[truth]), self.frailty == "gamma frailty"
        if model == "Cox" and gamma:
            b = programmes.marginal(EFFECTS[truth])
        elif model == "Cox" and self.frailty == "positive stable frailty":
            b = programmes.STABLE * b
        return dict(zip(TERMS, b.tolist(), strict=True)) | {"frailty variance": programmes.VARIANCE * gamma}

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        if model == "Cox":
            table = ist.fit_cox(frame, terms=TERMS, cluster="organisation", **TIMES).tidy()
            b, robust = table["estimate"], table["std_error"]
            return {
                "naive": rows(TERMS, b, table["std_error_naive"]),
                "cluster": tabled(table, TERMS),
                "cluster, t": rows(TERMS, b, robust, self.count - len(TERMS)),
            }, False
        fit = ist.fit_cox(frame, terms=TERMS, frailty="organisation", **TIMES)
        test = of_test("frailty variance", fit.tests()["p_value"][0], fit.theta)
        return {"Wald": tabled(fit.tidy(), TERMS), "likelihood ratio": test}, fit.convergence.boundary


@dataclass(frozen=True)
class Weibull:
    """Times with S(t) = exp(-(t / scale) ** shape)."""

    shape: float
    scale: float

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return self.scale * rng.exponential(size=count) ** (1 / self.shape)


@cache
def mean_until(tau: float, law: Weibull) -> float:
    """Return the restricted mean."""
    return scipy.integrate.quad(lambda t: math.exp(-((t / law.scale) ** law.shape)), 0, tau)[0]


@dataclass(frozen=True)
class RestrictedMeans(SurvivalCell):
    """Two groups of programmes, one of them seen from later on: more of it is censored early."""

    name: str
    per_group: int
    ways: ClassVar = {
        "restricted means": {"normal": ("difference", "log ratio")},
        "log-rank": {"chi-square": ("hazards",)},
    }
    tau: ClassVar = 4.0
    seen: ClassVar = {"before": (4.0, 12.0), "during": (1.0, 8.0)}
    times: ClassVar = {
        "effect": {"before": Weibull(1.5, 6.0), "during": Weibull(1.0, 4.0)},
        "null": {"before": Weibull(1.2, 5.0), "during": Weibull(1.2, 5.0)},
    }

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        parts = []
        for group, law in self.times[truth].items():
            years, end = law.draw(self.per_group, rng), rng.uniform(*self.seen[group], self.per_group)
            part = {"years": np.minimum(years, end), "stopped": (years <= end).astype(int), "era": group}
            parts.append(pd.DataFrame(part))
        return pd.concat(parts, ignore_index=True)

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        before, during = (mean_until(self.tau, law) for law in self.times[truth].values())
        return {
            "difference": during - before,
            "log ratio": math.log(during / before),
            "hazards": float(truth == "effect"),
        }

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        if model == "log-rank":
            return {"chi-square": of_test("hazards", ist.logrank(frame, by="era", **TIMES).p_value)}, False
        table = ist.rmst(frame, by="era", tau=self.tau, **TIMES).tidy().set_index("quantity")
        difference, ratio = table.loc["difference"], table.loc["ratio"]
        columns = ["estimate", "conf_low", "conf_high"]
        log, low, high = np.log(ratio[columns].to_numpy(dtype=float))
        log_ratio = (log, ratio["std_error"] / ratio["estimate"], low, high, ratio["p_value"])
        whole = difference[["estimate", "std_error", "conf_low", "conf_high", "p_value"]].to_numpy(dtype=float)
        return {"normal": {"difference": whole, "log ratio": log_ratio}}, False


@dataclass(frozen=True)
class Curve(SurvivalCell):
    """One group, whose curve is asked for where it is high, in the middle and low."""

    name: str
    count: int
    truths: ClassVar = ("effect",)
    shares: ClassVar = {"S = 0.9": 0.9, "S = 0.5": 0.5, "S = 0.2": 0.2}
    ways: ClassVar = {
        "Kaplan-Meier": dict.fromkeys(("log", "log-log", "plain", "logit", "arcsine"), tuple(shares)),
    }
    law: ClassVar = Weibull(1.0, 5.0)

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        years, end = self.law.draw(self.count, rng), rng.uniform(3, 15, self.count)
        return pd.DataFrame({"years": np.minimum(years, end), "stopped": (years <= end).astype(int)})

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        return self.shares

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        when = [self.law.scale * (-math.log(share)) ** (1 / self.law.shape) for share in self.shares.values()]
        found = {}
        for interval in self.ways[model]:
            table = ist.survival_curves(frame, interval=interval, **TIMES).at(when)
            found[interval] = tabled(table.assign(p_value=NOTHING), tuple(self.shares))
        return found, False


@dataclass(frozen=True)
class FewEvents(SurvivalCell):
    """So few programmes that the likelihood often has no maximum."""

    name: str
    treated: int
    others: int
    terms: tuple[str, ...]
    until: ClassVar = 5.0
    hazard: ClassVar = 0.12

    @property
    def ways(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        return {"Cox": {"Wald": self.terms}, "Firth": {"profile": self.terms}}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        treatment = np.repeat([1.0, 0.0], [self.treated, self.others])
        X = np.column_stack([treatment, rng.standard_normal(len(treatment))])[:, : len(self.terms)]
        risk = self.hazard * np.exp(X @ EFFECTS[truth][: len(self.terms)])
        years = rng.exponential(1 / risk)
        frame = pd.DataFrame(X, columns=list(self.terms))
        return frame.assign(years=np.minimum(years, self.until), stopped=(years <= self.until).astype(int))

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        return dict(zip(TERMS, EFFECTS[truth], strict=True))

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        penalty = "firth" if model == "Firth" else None
        table = ist.fit_cox(frame, terms=self.terms, penalty=penalty, **TIMES).tidy()
        return {method: tabled(table, self.terms) for method in self.ways[model]}, False


def cells() -> list[Cell]:
    """Return every cell of the study."""
    both = (30, 100)
    found: list[Cell] = []
    for frailty in programmes.FRAILTIES:
        counts = both if frailty == "no frailty" else (30, 50, 100)
        found += [Organisations(f"Cox, {n} organisations, {frailty}", n, frailty) for n in counts]
    found += [RestrictedMeans(f"Restricted means, {n} + {n}", n) for n in both]
    found += [Curve("Kaplan-Meier, 40", 40)]
    found += [Gray(f"Gray, {n} + {n}, {kind}", n, kind) for kind in Gray.kinds for n in (50, 150)]
    found += [FineGray(f"Fine-Gray, {n}", n) for n in (100, 300)]
    found += [FineGray("Fine-Gray, 300, censoring by group", 300, by_group=True)]
    found += [FineGray(f"Fine-Gray, {n} organisations", n, shared=True) for n in both]
    found += [
        FewEvents("Few events, 7 programmes", 3, 4, TERMS[:1]),
        FewEvents("Few events, 20 programmes", 10, 10, TERMS),
    ]
    return found


def sizes(replicates: int | None) -> dict[str, int]:
    """Return how many studies the numbers rest on."""
    return {"studies": replicates or REPLICATES}
