"""A cluster carries the work where joblib is told so: a local Dask cluster of two workers, and the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import joblib
import pytest

import implstats as ist
from implstats import _parallel

distributed = pytest.importorskip("distributed")

TRUTH = ist.OutcomeTruth(
    better="lower", mean=2.0, sd=0.5, residual_sd=0.3, slope_sd=0.008, d={"before": {36: 1.2}, "during": {36: 0.5}}
)
SCENARIO = ist.Scenario(patients={"before": 1, "during": 1}, outcomes={"bsi": TRUTH})


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_power_is_the_same_to_the_byte_on_a_cluster(client: Any) -> None:
    arguments: dict[str, Any] = {"n": [20, 30], "replicates": 500, "analysis": "growth", "shape": "linear", "rng": 7}
    here = ist.power(SCENARIO, **arguments)
    with joblib.parallel_config(backend="dask"):
        there = ist.power(SCENARIO, workers=2, **arguments)
    for name in ("estimate", "width", "found", "covers"):
        assert getattr(there, name).tobytes() == getattr(here, name).tobytes()


def test_the_cluster_does_the_work(client: Any) -> None:
    def where(_: int) -> int:
        sum(k * k for k in range(300_000))
        return os.getpid()

    with joblib.parallel_config(backend="dask"):
        found = _parallel.run(where, [(k,) for k in range(8)], 2)
    assert set(found) == set(client.run(os.getpid).values())
