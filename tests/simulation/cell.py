"""What the study asks of every cell: to draw a study, to answer it and to know the truth; and what many answers say."""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

REPLICATES, LEVEL = 2_000, 0.95
TRUTHS = ("effect", "null")


class Cell(ABC):
    """One kind of study: who is in it, the truth, and the models that are fitted to it."""

    name: str
    models: tuple[str, ...]
    truths: tuple[str, ...]

    @property
    def replicates(self) -> int:
        return REPLICATES

    @property
    def key(self) -> int:
        """The number that the generators of its studies are keyed with."""
        return zlib.crc32(self.name.encode())

    @abstractmethod
    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        """Return one study."""

    @abstractmethod
    def counted(self, frame: pd.DataFrame) -> dict[str, float]:
        """Return what is counted in a study; the table has its mean."""

    @abstractmethod
    def methods(self, model: str) -> tuple[str, ...]:
        """Return the names of what a model can say in more than one way."""

    @property
    @abstractmethod
    def quantities(self) -> tuple[str, ...]:
        """The names of what is estimated."""

    @abstractmethod
    def answer(self, model: str, frame: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """Return (methods, quantities, 5), and whether a variance is on its boundary."""

    @abstractmethod
    def truth_of(self, truth: str, model: str) -> Mapping[str, float]:
        """Return the true value of what a model estimates."""

    def asked(self, model: str, method: str) -> tuple[str, ...]:
        """Return the quantities that are written of a method."""
        return self.quantities

    @abstractmethod
    def summary(self, values: np.ndarray, truth: float) -> dict[str, Any]:
        """Return what the answers (replicates, 5) of one quantity say, nan where there was none."""


def accuracy(estimate: np.ndarray, truth: float) -> dict[str, float]:
    """Return how far estimates are off and how they spread; some may be nan."""
    n, given = len(estimate), estimate[~np.isnan(estimate)]
    spread = float(np.subtract(*np.quantile(given, [0.75, 0.25]))) / 1.349
    return {
        "truth": truth,
        "bias": float(given.mean()) - truth,
        "bias_error": float(given.std(ddof=1)) / math.sqrt(n),
        "median_bias": float(np.median(given)) - truth,
        "median_bias_error": math.sqrt(math.pi / 2 / n) * spread,
        "sd": float(given.std(ddof=1)),
    }


def coverage(values: np.ndarray, truth: float, held: np.ndarray) -> dict[str, float]:
    """Return how often sets held the truth; values (n, 4) are estimate, standard error and both ends, some nan."""
    _, std_error, low, high = values.T
    share = float(held.mean())
    return {
        "mean_std_error": float(std_error[~np.isnan(std_error)].mean()),
        "coverage": 100 * share,
        "coverage_error": 100 * math.sqrt(share * (1 - share) / len(held)),
        "above": 100 * float((~held & (low > truth)).mean()),
        "below": 100 * float((~held & (high < truth)).mean()),
    }
