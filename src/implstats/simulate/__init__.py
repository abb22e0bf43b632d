"""Patients and programmes whose true effects are known: what a study would see, under a stated scenario."""

from implstats.simulate.dropout import dropout_spells
from implstats.simulate.programme_example import PROGRAMMES
from implstats.simulate.programme_scenario import ProgrammeScenario
from implstats.simulate.programmes import simulate_programmes
from implstats.simulate.reorganisation import REORGANISATION
from implstats.simulate.scenario import Scenario
from implstats.simulate.truth import DropOut, OutcomeTruth
from implstats.simulate.visits import simulate_visits

__all__ = [
    "PROGRAMMES",
    "REORGANISATION",
    "DropOut",
    "OutcomeTruth",
    "ProgrammeScenario",
    "Scenario",
    "dropout_spells",
    "simulate_programmes",
    "simulate_visits",
]
