"""How far an answer rests on what cannot be seen, and on whom: assumptions moved, and parts of the data left out."""

from implstats.sensitivity.leave_one_out import LeaveOneOut, leave_one_out
from implstats.sensitivity.natural import NaturalChange, natural_change
from implstats.sensitivity.patterns import PatternMixture, pattern_mixture
from implstats.sensitivity.tipping import TippingPoint, tipping_point
from implstats.sensitivity.unmeasured import EValue, e_value

__all__ = [
    "EValue",
    "LeaveOneOut",
    "NaturalChange",
    "PatternMixture",
    "TippingPoint",
    "e_value",
    "leave_one_out",
    "natural_change",
    "pattern_mixture",
    "tipping_point",
]
