"""The scenario of the bundled programmes: one draw from it is `programmes.csv` and `programme_history.csv`."""

from implstats.simulate.programme_scenario import ProgrammeScenario

__all__ = ["PROGRAMMES"]

# Risks are highest in years 2 and 5 (Swales 2012); early programmes, and those trained on-site, last less long, and
# late ones are seen for fewer years (King 2018). How much so is invented.
PROGRAMMES = ProgrammeScenario(
    programmes={"early": 80, "late": 70},
    accrual={"early": ("2001-01-01", "2006-12-31"), "late": ("2008-01-01", "2014-12-31")},
    closing="2016-12-31",
    hazard=(0.04, 0.13, 0.06, 0.05, 0.15, 0.05, 0.04, 0.03),
    log_hazard_ratios={
        "era": {"late": -0.3},
        "training": {"on-site": 0.5},
        "country": {"B": 0.2, "C": -0.2},
        "leadership": -0.25,
        "support": -0.2,
        "barrier_treatment": 0.05,
        "barrier_people": 0.15,
        "barrier_organisation": 0.2,
        "barrier_context": 0.1,
        "barrier_approach": 0.0,
    },
    organisations=40,
    frailty_variance=0.3,
    score_correlation=0.3,
    merging=0.015,
    restart=0.12,
    never_started={"early": 3, "late": 5},
)
