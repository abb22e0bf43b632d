"""Patients whose true effects are known: what a study would see, visit by visit, under a stated scenario."""

from implstats.simulate.reorganisation import REORGANISATION
from implstats.simulate.scenario import Scenario
from implstats.simulate.truth import DropOut, OutcomeTruth
from implstats.simulate.visits import simulate_visits

__all__ = ["REORGANISATION", "DropOut", "OutcomeTruth", "Scenario", "simulate_visits"]
