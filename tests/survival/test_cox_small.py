"""Cox models of very little data, of terms in any unit, and of columns with awkward names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import ConvergenceError, DataError

ROLES = {"duration": "t", "event": "d"}


def drawn(seed: int, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.integers(0, 2, n)
    t = np.ceil(10 * rng.exponential(np.exp(-0.5 * x))) / 10
    return pd.DataFrame({"t": t, "d": rng.integers(0, 2, n), "x": x, "z": z, "org": np.arange(n) % 12})


@pytest.mark.parametrize("cluster", [None, "org"])
@pytest.mark.parametrize("unit", [1e6, 1e-7])
def test_units_of_terms_leave_every_test(cluster: str | None, unit: float) -> None:
    frame = drawn(1)
    one, other = (
        ist.fit_cox(f, terms="x + z", cluster=cluster, **ROLES) for f in (frame, frame.assign(x=frame["x"] * unit))
    )
    np.testing.assert_allclose(other.tests()[["statistic", "df"]], one.tests()[["statistic", "df"]], rtol=1e-6)
    zph = one.proportional_hazards(), other.proportional_hazards()
    np.testing.assert_allclose(zph[1].statistics, zph[0].statistics, rtol=1e-6)


def test_events_at_one_time_say_nothing_of_a_change_over_time() -> None:
    frame = pd.DataFrame({"t": [2] * 7, "d": [1, 0, 1, 0, 0, 1, 0], "x": [2, 5, 3, 4, 6, 1, 3.0]})
    with pytest.raises(DataError, match="events at one time, or too few of them, say nothing of a change over time"):
        ist.fit_cox(frame, terms="x", **ROLES).proportional_hazards()


def test_no_small_sample_gives_a_negative_chi_square_or_a_crash() -> None:
    rng = np.random.default_rng(5)
    answered = 0
    for _ in range(150):
        n = int(rng.integers(5, 11))
        frame = pd.DataFrame(
            {
                "t": rng.integers(1, 6, n),
                "d": rng.integers(0, 2, n),
                "x": rng.normal(size=n),
                "z": rng.integers(0, 2, n),
            }
        )
        for transform in ("km", "log", "identity", "rank"):
            try:
                found = ist.fit_cox(frame, terms="x + z", **ROLES).proportional_hazards(transform)
            except (DataError, ConvergenceError):
                continue
            answered += 1
            known = ~np.isnan(found.statistics)
            assert (found.statistics[known] >= 0).all()
            assert (np.array(found.dfs)[~known] == 0).all()
            assert found.df >= 1
    assert answered > 60


def test_firth_of_four_rows_has_intervals() -> None:
    frame = pd.DataFrame({"t": [18, 27, 29, 26], "d": [0, 0, 1, 1], "x": [-0.2, -1.2, 0.6, 0.7], "g": list("bbaa")})
    table = ist.fit_cox(frame, terms=["x", "g"], penalty="firth", **ROLES).tidy()
    assert np.isfinite(table["estimate"]).all()
    assert (table["conf_low"] < table["estimate"]).all()
    assert (table["estimate"] < table["conf_high"]).all()


@pytest.mark.parametrize("name", ["martingale", "time", "estimate", "log_hazard"])
def test_columns_that_results_would_overwrite_are_refused(name: str) -> None:
    frame = drawn(2).rename(columns={"x": name})
    with pytest.raises(DataError) as caught:
        ist.fit_cox(frame, terms=[name, "z"], **ROLES)
    assert str(caught.value) == f"terms='{name}': results give a column of this name; rename yours"


def test_a_duration_may_be_called_time() -> None:
    frame = drawn(3).rename(columns={"t": "time"})
    assert len(ist.fit_cox(frame, duration="time", event="d", terms="x").augment()) == len(frame)


def test_a_profile_may_be_a_mapping_as_in_the_other_models() -> None:
    model = ist.fit_cox(drawn(4), terms="x + z", **ROLES)
    one = model.survival_at({"x": 0.5, "z": 1}, [0.2, 0.5])
    pd.testing.assert_frame_equal(one, model.survival_at(pd.DataFrame({"x": [0.5], "z": [1]}), [0.2, 0.5]))
    with pytest.raises(DataError, match="profile: a int is not a pandas DataFrame; give a mapping or a table"):
        model.survival_at(3, [0.2])


def test_wrong_types_are_named() -> None:
    frame = drawn(6)
    with pytest.raises(DataError, match="terms=5: neither a list of column names nor a right-hand side"):
        ist.fit_cox(frame, terms=5, **ROLES)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="reference='a': not a mapping; write reference="):
        ist.fit_cox(frame, terms="x", reference="a", **ROLES)  # type: ignore[arg-type]


def test_parametric_answers_have_times_by_default_and_quantiles_take_arrays() -> None:
    frame = drawn(7)
    times = ist.fit_parametric(frame, terms="x", **ROLES).survival_at()["time"]
    assert 4 <= len(times) <= 10
    curves = ist.survival_curves(frame, **ROLES)
    assert curves.quantile(np.array([0.25, 0.5])).equals(curves.quantile([0.25, 0.5]))
