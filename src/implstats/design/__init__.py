"""Frame to design: what a fit needs, as read-only arrays, and the encoding to apply to new data."""

from implstats.design.growth import GrowthDesign, growth_design
from implstats.design.mixed import Design, MixedDesign, RandomTerm, mixed_design
from implstats.design.time import NaturalSpline, Piecewise

__all__ = [
    "Design",
    "GrowthDesign",
    "MixedDesign",
    "NaturalSpline",
    "Piecewise",
    "RandomTerm",
    "growth_design",
    "mixed_design",
]
