"""How far an answer rests on what cannot be seen, and on whom: assumptions moved, and parts of the data left out."""

from implstats.sensitivity.patterns import PatternMixture, pattern_mixture
from implstats.sensitivity.tipping import TippingPoint, tipping_point

__all__ = ["PatternMixture", "TippingPoint", "pattern_mixture", "tipping_point"]
