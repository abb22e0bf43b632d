"""Programmes that stop or merge: Gray's test and Fine & Gray's model, with incidences that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import programmes
from survival_base import EFFECTS, TERMS, Rows, SurvivalCell, of_test, rows, tabled

import implstats as ist

CAUSES = {"duration": "years", "event": "status", "cause": "stopped", "censored": "active"}
# A programme stops sooner or later with this probability where all covariates are 0; years of its unit of time.
STOPS, UNIT = 0.5, 3.0


def seen(years: np.ndarray, cause: np.ndarray, end: np.ndarray) -> pd.DataFrame:
    """Return what a study sees of times and causes."""
    status = np.where(years <= end, cause, "active")
    return pd.DataFrame({"years": np.minimum(years, end), "status": status})


class CausesCell(SurvivalCell):
    """A cell of programmes that stop, merge or go on."""

    def counted(self, frame: pd.DataFrame) -> dict[str, float]:
        stopped, merged = (float((frame["status"] == status).sum()) for status in ("stopped", "merged"))
        return {"programmes": float(len(frame)), "events": stopped, "other events": merged}


@dataclass(frozen=True)
class Gray(CausesCell):
    """Two groups, censored at different times; under the null one of the causes, or both, are alike."""

    name: str
    per_group: int
    kind: str
    ways: ClassVar = {"Gray": {"chi-square": ("stopped",)}, "log-rank of the cause": {"chi-square": ("stopped",)}}
    kinds: ClassVar = ("all alike", "incidence alike", "hazard alike")
    seen: ClassVar = {"before": (2.0, 12.0), "during": (1.0, 8.0)}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        parts = []
        for group, ends in self.seen.items():
            years, cause = self.ended(group, truth, rng)
            part = seen(years, cause, rng.uniform(*ends, self.per_group))
            parts.append(part.assign(era=group))
        return pd.concat(parts, ignore_index=True)

    def ended(self, group: str, truth: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return when programmes of a group end, and how."""
        n, later = self.per_group, group == "during"
        sooner = 1.0 if not later or self.kind == "all alike" else 8.0
        if self.kind == "hazard alike":
            # Constant hazards of each cause.
            stop, merge = 0.2 * (2.0 if later and truth == "effect" else 1.0), 0.08 * sooner
            years, stops = rng.exponential(1 / (stop + merge), n), rng.random(n) < stop / (stop + merge)
        else:
            # The incidence of stopping is `share` (1 - exp(-t / UNIT)), however soon the others merge.
            share = 0.65 if later and truth == "effect" else 0.45
            stops = rng.random(n) < share
            years = rng.exponential(np.where(stops, UNIT, 6.0 / sooner))
        return years, np.where(stops, "stopped", "merged")

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        return {"stopped": float(truth == "effect")}

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        if model == "Gray":
            p_value = ist.gray_test(frame, by="era", **CAUSES).p_value["stopped"]
        else:
            own = frame.assign(stopped=(frame["status"] == "stopped").astype(int))
            p_value = ist.logrank(own, duration="years", event="stopped", by="era").p_value
        return {"chi-square": of_test("stopped", p_value)}, False


@dataclass(frozen=True)
class FineGray(CausesCell):
    """Fine and Gray's own scheme: F(t | x) = 1 - (1 - p (1 - exp(-t))) ** (w exp(x'b)), w shared in organisations."""

    name: str
    count: int
    by_group: bool = False
    shared: bool = False

    @property
    def ways(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        methods = ("rows", "cluster", "cluster, t") if self.shared else ("rows",)
        return {"Fine-Gray": dict.fromkeys(methods, TERMS)}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        b = np.array(EFFECTS[truth])
        if self.shared:
            frame = programmes.organisations(self.count, rng)
            # Over organisations the exponent is raised to STABLE, and b is what it should be.
            b, frailty = b / programmes.STABLE, programmes.positive_stable(self.count, rng)[frame["organisation"]]
        else:
            frame, frailty = self.programmes(rng), 1.0
        power = frailty * np.exp(frame[list(TERMS)].to_numpy() @ b)
        years, cause = ended(frame, power, rng)
        return pd.concat([frame, seen(years, cause, self.end(frame, rng))], axis=1)

    def programmes(self, rng: np.random.Generator) -> pd.DataFrame:
        """Return programmes on their own, half of them treated."""
        treatment = (np.arange(self.count) % 2).astype(float)
        return pd.DataFrame({"treatment": treatment, "covariate": rng.standard_normal(self.count)})

    def end(self, frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        """Return until when programmes are seen."""
        end = programmes.censoring(len(frame), rng)
        return np.where(frame["treatment"] == 1, end / 3, end) if self.by_group else end

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        return dict(zip(TERMS, EFFECTS[truth], strict=True))

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        found = {"rows": tabled(self.fitted(frame), TERMS)}
        if self.shared:
            table = self.fitted(frame, cluster="organisation")
            by_t = rows(TERMS, table["estimate"], table["std_error"], self.count - len(TERMS))
            found |= {"cluster": tabled(table, TERMS), "cluster, t": by_t}
        return found, False

    def fitted(self, frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
        return ist.fit_fine_gray(frame, terms=TERMS, **CAUSES, **options).tidy()


def ended(frame: pd.DataFrame, power: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return when programmes end, and how; those that do not stop merge, the treated ones sooner."""
    n, ever = len(frame), 1 - (1 - STOPS) ** power
    share = rng.random(n)
    stops = share < ever
    # The time at which the incidence reaches the share.
    with np.errstate(all="ignore"):
        stopped = -np.log1p(-(1 - (1 - share) ** (1 / power)) / STOPS)
    merged = rng.exponential(np.exp(-0.5 * frame["treatment"].to_numpy()), n)
    return UNIT * np.where(stops, stopped, merged), np.where(stops, "stopped", "merged")
