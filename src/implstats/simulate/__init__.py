"""Patients and programmes whose true effects are known: what a study would see, under a stated scenario."""

from implstats.simulate.broken import FAULTS, plant_faults
from implstats.simulate.dropout import dropout_spells
from implstats.simulate.multisite import SITES, simulate_sites
from implstats.simulate.phase_example import PHASES
from implstats.simulate.phase_scenario import PhaseScenario
from implstats.simulate.phases import simulate_phases
from implstats.simulate.power import PowerCurve, power
from implstats.simulate.programme_example import PROGRAMMES
from implstats.simulate.programme_scenario import ProgrammeScenario
from implstats.simulate.programmes import simulate_programmes
from implstats.simulate.reorganisation import REORGANISATION
from implstats.simulate.scenario import Scenario
from implstats.simulate.through_change import THROUGH_CHANGE, simulate_through_change
from implstats.simulate.truth import DropOut, OutcomeTruth
from implstats.simulate.visits import simulate_visits

__all__ = [
    "FAULTS",
    "PHASES",
    "PROGRAMMES",
    "REORGANISATION",
    "SITES",
    "THROUGH_CHANGE",
    "DropOut",
    "OutcomeTruth",
    "PhaseScenario",
    "PowerCurve",
    "ProgrammeScenario",
    "Scenario",
    "dropout_spells",
    "plant_faults",
    "power",
    "simulate_phases",
    "simulate_programmes",
    "simulate_sites",
    "simulate_through_change",
    "simulate_visits",
]
