"""Who is at risk when: strata of which some see no event, and rows that come late."""

from __future__ import annotations

import numpy as np

from implstats._core.risk import risk_sets


def test_late_rows_of_a_stratum_without_events_are_at_risk_at_none() -> None:
    entry = np.array([0.0, 2.0, 0.0, 1.0])
    exit = np.array([3.0, 5.0, 4.0, 6.0])
    event = np.array([True, True, False, False])
    risk = risk_sets(entry, exit, event, np.ones(4), np.array([0, 0, 1, 1]))
    assert risk.row.tolist() == [0, 1]
    assert risk.sums(np.ones(2)).tolist() == [2, 1]


def test_late_rows_of_every_stratum_come_after_its_own_events_only() -> None:
    entry = np.array([0.0, 3.0, 0.0, 3.0, 2.5])
    exit = np.array([3.0, 5.0, 4.0, 6.0, 6.0])
    event = np.array([True, True, True, True, False])
    risk = risk_sets(entry, exit, event, np.ones(5), np.array([0, 0, 1, 1, 1]))
    # Groups: 3 and 5 of the first stratum, 4 and 6 of the second. Who enters at 3 is not at risk at 3.
    assert risk.time.tolist() == [3, 5, 4, 6]
    assert risk.sums(np.ones(5)).tolist() == [1, 1, 3, 2]
