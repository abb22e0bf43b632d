"""The scenario of the bundled example: one draw from it is `reorganisation.csv`."""

from implstats.simulate.scenario import Scenario
from implstats.simulate.truth import DropOut, OutcomeTruth

__all__ = ["REORGANISATION"]

# The bundled example is one draw from this: its true effects lie inside the ranges that Bales et al. 2017 published,
# and its levels and spreads are so far from the ends of both scales that nothing has to be clipped.
REORGANISATION = Scenario(
    patients={"before": 76, "during": 68},
    outcomes={
        "bsi": OutcomeTruth(
            better="lower",
            mean=2.0,
            sd=0.5,
            d={"before": {18: 0.95, 36: 1.2}, "during": {18: 0.35, 36: 0.5}},
            residual_sd=0.26,
            slope_sd=0.008,
            correlation=-0.35,
            therapist_sd=0.08,
            age=-0.004,
            sex=0.1,
        ),
        "sipp": OutcomeTruth(
            better="higher",
            mean=2.3,
            sd=0.4,
            d={"before": {18: 1.1, 36: 1.4}, "during": {18: 0.45, 36: 0.6}},
            residual_sd=0.2,
            slope_sd=0.006,
            correlation=-0.35,
            therapist_sd=0.06,
            age=0.003,
            sex=0.05,
        ),
    },
    visits=(0, 18, 36),
    therapists=10,
    dropout=DropOut({"before": 0.1, "during": 0.15}, outcome="bsi", per_sd=0.5),
    missed=0.04,
    correlation=0.5,
    admission={"before": ("2004-01-01", "2006-12-31"), "during": ("2010-01-01", "2012-06-30")},
)
