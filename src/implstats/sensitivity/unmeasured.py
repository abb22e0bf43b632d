"""E-values: how strong something unmeasured would have to be to explain an estimate away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats._core import evalue
from implstats.results import Result

__all__ = ["EValue", "e_value"]

LARGEST = 100
KINDS = ("hazard_ratio", "risk_ratio", "odds_ratio", "d")


@dataclass(frozen=True, eq=False, repr=False)
class EValue(Result):
    """How strongly something unmeasured must go with cohort and outcome to explain an estimate, or its interval, away.

    Attributes
    ----------
    kind : {"hazard_ratio", "risk_ratio", "odds_ratio", "d"}
    common : bool
        Whether the outcome is common (ratios of hazards and odds).
    estimate, lower, upper : float
        As given; nan for an end that was not.
    effect : str
        What was estimated.
    """

    kind: str
    common: bool
    estimate: float
    lower: float
    upper: float
    effect: str = ""

    @property
    def _null(self) -> float:
        return 0.0 if self.kind == "d" else 1.0

    @property
    def _nearer(self) -> float:
        """The end of the interval nearer to no association, or no association if the interval holds it."""
        end = self.lower if self.estimate > self._null else self.upper
        crossed = (end - self._null) * (self.estimate - self._null) <= 0
        return self._null if crossed else end

    def _e_value(self, estimate: float) -> float:
        if math.isnan(estimate):
            return math.nan
        return evalue.e_value(evalue.stands_for(estimate, self.kind, common=self.common))

    def tidy(self, **options: Any) -> pd.DataFrame:
        """Return one row: the estimate, the risk ratio (of 1 or more) that it stands for, and both E-values."""
        return pd.DataFrame(
            {
                "kind": [self.kind],
                "estimate": [self.estimate],
                "conf_low": [self.lower],
                "conf_high": [self.upper],
                "risk_ratio": [evalue.stands_for(self.estimate, self.kind, common=self.common)],
                "e_value": [self._e_value(self.estimate)],
                "e_value_limit": [self._e_value(self._nearer)],
            }
        )

    def header(self) -> list[str]:
        """Return what the E-values say."""
        row = self.tidy().iloc[0]
        how = {"d": "exp(.91 d)", "risk_ratio": "as it stands"}
        what = f"{self.effect + ': ' if self.effect else ''}{self.kind.replace('_', ' ')}"
        rare = "as of a common outcome" if self.common else "as of a rare outcome"
        lines = [
            f"{what} {self.estimate:.4g} stands for a risk ratio of {row['risk_ratio']:.3f} "
            f"({how.get(self.kind, rare)})",
            "to explain it away, something unmeasured would have to go with both the exposure and the outcome by a risk"
            f" ratio of {row['e_value']:.2f} each, above what was adjusted for; weaker would not suffice",
        ]
        limit = row["e_value_limit"]
        if limit == 1:
            lines.append("its interval holds no association as it is, so nothing has to be explained away (1)")
        elif not math.isnan(limit):
            lines.append(f"to move its interval to no association, {limit:.2f} each")
        return lines


def e_value(
    estimate: float,
    *,
    lower: float | None = None,
    upper: float | None = None,
    kind: str,
    common: bool = True,
    effect: str = "",
) -> EValue:
    """How strong would unmeasured confounding have to be to explain an association away?

    The smallest risk ratio that something unmeasured must have with both the exposure and the outcome, beyond the
    measured covariates, so that there would be no association without it.

    Parameters
    ----------
    estimate : float
        A ratio, or a standardised difference.
    lower, upper : float, optional
        The ends of its interval; only the one nearer to no association is used.
    kind : {"hazard_ratio", "risk_ratio", "odds_ratio", "d"}
    common : bool
        Of hazard and odds ratios: whether the outcome is common (more than 15 % at the end of follow-up). True is the
        cautious answer: it gives the smaller E-value.
    effect : str
        What was estimated, for the header.

    Returns
    -------
    EValue

    Raises
    ------
    DataError
        A ratio that is not positive, or an interval that does not hold the estimate.

    Notes
    -----
    E = RR + sqrt(RR (RR - 1)), RR inverted if it is below 1. Common outcomes: a hazard ratio stands for
    (1 - .5^sqrt(HR)) / (1 - .5^sqrt(1/HR)), an odds ratio for its root; d for exp(.91 d). The E-value says how strong a
    confounder must be, not whether there is one: a year in which everything changed at once may well be that strong.

    References
    ----------
    VanderWeele & Ding 2017, DOI 10.7326/M16-2607; VanderWeele 2017, DOI 10.1007/s10654-017-0337-0.

    Examples
    --------
    >>> import implstats as ist
    >>> found = ist.e_value(0.56, lower=0.41, upper=0.77, kind="hazard_ratio")
    >>> found.tidy()[["risk_ratio", "e_value", "e_value_limit"]].round(3)
       risk_ratio  e_value  e_value_limit
    0       1.492     2.35          1.686
    """
    call = dict(locals())
    faults = Faults()
    faults.ask(_check.one_of, "kind", kind, KINDS)
    faults.ask(_check.flag, "common", common)
    above, remedy = (None, "") if kind == "d" else (0.0, "a ratio is positive; of a logarithm give its exponential")
    for argument, value in (("estimate", estimate), ("lower", lower), ("upper", upper)):
        if value is not None or argument == "estimate":
            faults.ask(_check.number, argument, value, above=above, remedy=remedy)
    faults.settle()
    for argument, value, sign in (("lower", lower, 1), ("upper", upper, -1)):
        if value is not None and sign * (value - estimate) > 0:
            faults.add(argument, value, f"on the wrong side of estimate={_check.show(estimate)}")
    if kind == "d" and abs(estimate) > LARGEST:
        faults.add("estimate", estimate, f"more than {LARGEST} standard deviations", "divide it by the outcome's SD")
    faults.settle()
    low, high = (math.nan if end is None else float(end) for end in (lower, upper))
    return EValue(call, kind, bool(common), float(estimate), low, high, str(effect))
