"""The picture that README.md and the first page of the documentation show: `python docs/pictures/answer.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LABELS = {
    "bsi": "Symptom severity (BSI, 0-4)",
    "sipp": "Personality functioning (SIPP, 1-4)",
    "month": "Months since the start of treatment",
    "before": "Before the reorganisation",
    "during": "During the reorganisation",
}


def draw() -> Any:
    """Return a figure: means over time of two outcomes, and beneath them effect sizes and the improvement retained."""
    import matplotlib.pyplot as plt

    import implstats as ist

    visits = ist.load_example("reorganisation")
    roles: dict[str, Any] = {"patient": "patient", "cohort": "cohort", "reference": "before"}
    study = ist.compare_cohorts(visits, outcomes={"bsi": "lower", "sipp": "higher"}, time="month", at=[18, 36], **roles)
    figure = plt.figure(figsize=(10, 8.2), layout="constrained")
    above, beneath = figure.subfigures(2, 1, height_ratios=[1, 1.05])
    ist.plot.trajectories(study, ax=list(above.subplots(1, 2)), labels=LABELS)
    ist.plot.effect_forest(study, ax=beneath.subplots(), labels=LABELS)
    return figure


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent.parent / "src"))
    draw().savefig(HERE / "answer.png", dpi=110)
