"""How far implementation has come: phases and their activities, and in which state programmes are over time."""

from implstats.phases.occupation import StateOccupation, state_occupation
from implstats.phases.progress import PhaseProgress, phase_progress
from implstats.phases.schemes import SCHEMES

__all__ = ["SCHEMES", "PhaseProgress", "StateOccupation", "phase_progress", "state_occupation"]
