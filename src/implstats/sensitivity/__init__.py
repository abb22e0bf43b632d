"""How far an answer rests on what cannot be seen, and on whom: assumptions moved, and parts of the data left out."""

from implstats.sensitivity.leave_one_out import LeaveOneOut, leave_one_out
from implstats.sensitivity.natural import NaturalChange, natural_change
from implstats.sensitivity.unmeasured import EValue, e_value

__all__ = ["EValue", "LeaveOneOut", "NaturalChange", "e_value", "leave_one_out", "natural_change"]
