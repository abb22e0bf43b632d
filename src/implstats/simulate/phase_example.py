"""The scenario of the bundled phases: one draw from it is `programme_phases.csv`."""

from implstats.simulate.phase_scenario import PhaseScenario

__all__ = ["PHASES"]

# Eight stages, most of those who give up do so before staff is hired (Chamberlain, Brown & Saldana 2011). All numbers
# are invented.
PHASES = PhaseScenario(
    programmes={"coached": 20, "alone": 20},
    accrual=("2012-01-02", "2014-12-31"),
    closing="2018-12-31",
    scheme="sic",
    activities=(3, 4, 5, 5, 4, 4, 4, 2),
    wait=(12.0, 20.0, 25.0, 30.0, 25.0, 20.0, 60.0, 90.0),
    stopping=(0.10, 0.12, 0.12, 0.05, 0.03, 0.03, 0.05, 0.0),
    skipping=0.06,
    early=0.15,
    slower={"alone": 1.4},
)
