"""Analyses of raters that a batch repeats: intraclass correlation, agreement beyond chance, agreement within groups."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from implstats._check import Faults
from implstats.batch import kinds
from implstats.batch.kinds import Kind
from implstats.batch.repeatable import Answer, Repeatable
from implstats.design.ratings import ratings
from implstats.ratings import gwet_ac1, icc, kappa, krippendorff_alpha, within_group_agreement

__all__ = ["BeyondChance", "Correlation", "WithinGroups"]

Asked = Mapping[str, Any]
Compute = Callable[..., Any]

_ROLES = ("item", "rater", "score")
_OF_RATINGS: Mapping[str, Kind] = {**dict.fromkeys(_ROLES, kinds.text), "missing": kinds.word("drop", "raise")}
_NEEDED = {
    "item": "name the column with what is rated",
    "rater": "name the column with who rated it",
    "score": "name the column with the score",
}
_METRIC = kinds.word("nominal", "ordinal", "interval")
# What is computed, and its own keys.
_COEFFICIENTS: Mapping[str, tuple[Compute, Mapping[str, Kind]]] = {
    "kappa": (kappa, {"weights": kinds.word("linear", "quadratic")}),
    "krippendorff_alpha": (
        krippendorff_alpha,
        {"metric": _METRIC, "draws": kinds.whole(20), "seed": kinds.whole(0)},
    ),
    "gwet_ac1": (gwet_ac1, {}),
}
_SEED = 1


class _OfRatings(Repeatable):
    """What analyses of ratings share: items, raters and scores; the score stands in the place of the outcome."""

    needed = MappingProxyType(_NEEDED)

    def outcomes(self, named: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """Return the score."""
        return [str(options["score"])]

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return item, rater and score."""
        return {k: asked["options"].get(k) for k in _ROLES}

    def _refuse(self, frame: pd.DataFrame, asked: Asked, *, numbers: bool) -> None:
        options, faults = asked["options"], Faults()
        roles = {k: options[k] for k in _ROLES}
        given = {"missing": options.get("missing", "drop"), "categories": options.get("categories")}
        ratings(frame, **roles, **given, faults=faults, numbers=numbers)
        faults.settle()


class Correlation(_OfRatings):
    """An intraclass correlation."""

    keys = MappingProxyType({**_OF_RATINGS, "form": kinds.word("1", "k", "A,1", "A,k", "C,1", "C,k")})

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that are no ratings."""
        self._refuse(frame, asked, numbers=True)

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return the coefficient; it has an interval but no standard error, and is not pooled."""
        found = icc(frame, level=asked["level"], **asked["options"])
        row = found.tidy().iloc[0]
        made = {k: row[k] for k in ("estimate", "df", "conf_low", "conf_high")}
        return Answer([{"quantity": f"ICC({found.form})", **made, "n": found.sample.rows}])


class BeyondChance(_OfRatings):
    """A coefficient of agreement beyond chance: kappa, Krippendorff's alpha or Gwet's AC1."""

    def __init__(self, name: str) -> None:
        self.compute, own = _COEFFICIENTS[name]
        self.keys = {**_OF_RATINGS, "categories": kinds.several, **own}
        self.drawn = "seed" in own
        if "metric" in own:
            self.needed = MappingProxyType(_NEEDED | {"metric": 'write "nominal", "ordinal" or "interval"'})

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that are no ratings."""
        self._refuse(frame, asked, numbers=asked["options"].get("metric") == "interval")

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return the coefficient; it also says how much the items of a site differ, and is not pooled."""
        options = dict(asked["options"])
        if self.drawn:
            options["rng"] = options.pop("seed", _SEED)
        found = self.compute(frame, level=asked["level"], **options)
        row = found.tidy().iloc[0]
        made = {k: row[k] for k in ("quantity", "estimate", "std_error", "conf_low", "conf_high")}
        return Answer([made | {"n": found.sample.rows}])


class WithinGroups(_OfRatings):
    """How far the members of groups agree, on average over the groups, and in the group that agrees least."""

    keys = MappingProxyType(
        {
            **_OF_RATINGS,
            "group": kinds.text,
            "scale": kinds.times,
            "step": kinds.above(0),
            "null": kinds.above(0),
        }
    )
    needed = MappingProxyType(
        {k: _NEEDED[k] for k in ("rater", "score")} | {"scale": "write the ends of the scale, as scale = [1, 5]"}
    )

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return group, item, rater and score."""
        return super().columns(asked, known, faults) | {"group": asked["options"].get("group")}

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that have no answer; finding it takes no longer than looking for a reason against it."""
        self.answer(frame, asked)

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return mean and lowest of every index over the groups, whose names are not told."""
        found = within_group_agreement(frame, **asked["options"])
        rows, n = [], found.sample.rows
        for quantity, values in found.tidy().groupby("quantity", sort=False)["estimate"]:
            rows.append({"quantity": f"mean {quantity}", "estimate": float(values.mean()), "n": n})
            rows.append({"quantity": f"lowest {quantity}", "estimate": float(values.min()), "n": n})
        return Answer(rows)
