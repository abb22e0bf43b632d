"""Programmes drawn from a scenario: which of them stopped, merged or went on, and which started again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from implstats import _check
from implstats._parallel import generators, seed_of
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError
from implstats.simulate.parts import words
from implstats.simulate.programme_scenario import CENTRE, SCORES, ProgrammeScenario

__all__ = ["simulate_programmes"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

YEAR = UNIT_DAYS["years"]
# Years after which nothing is waited for: a time at a rate of 0 is infinite, and one at a tiny rate overflows in days.
NEVER = 1e6
PLACE = ("country", "organisation", "era")
# Every part is drawn from a generator of its own: another scenario with the same seed keeps the parts that it shares.
ORGANISATIONS, FRAILTIES, STARTED, SCORED, TIMES, NEVER_STARTED = range(6)


def simulate_programmes(
    scenario: ProgrammeScenario, *, rng: int | np.random.Generator | None = None, rows: str = "programmes"
) -> pd.DataFrame:
    """Show which programmes a study would see stop, if this scenario were true.

    Parameters
    ----------
    scenario : ProgrammeScenario
        The programmes and what truly makes them stop.
    rng : None, int or numpy.random.Generator
        Source of randomness: a seed gives the same programmes again, None new ones each time.
    rows : {"programmes", "states"}
        One row per programme with its first period of activity, or one row per programme and state with all that
        followed. The same seed gives the same programmes in both.

    Returns
    -------
    pandas.DataFrame
        Of programmes: programme (1, 2, ...), country, organisation, era, training, started, years (active, until it
        stopped or merged for the first time or the study closed), status (active, stopped, merged), discontinued (1 if
        stopped), leadership, support and five barriers (1 to 7). Programmes that never started are not among them.

        Of states: programme, country, organisation, era, state (active, stopped, restarted, merged, never started),
        start and stop (years since the programme's first start), next_state ("none": that is how it was when the study
        closed). Programmes that never started have one row each, without start and stop.

    Raises
    ------
    DataError
        If `scenario` is no ProgrammeScenario, or an option is unknown.

    Notes
    -----
    Times are whole days, at least 1, and years have 365.25 of them. An event after the closing day is not seen.

    References
    ----------
    Swales, M. A., Taylor, B., & Hibbs, R. A. B. (2012). Journal of Mental Health, 21, 548-555. DOI
    10.3109/09638237.2012.689435; King, J. C., et al. (2018). BMC Psychiatry, 18, 302. DOI 10.1186/s12888-018-1876-7.

    Examples
    --------
    >>> from implstats import simulate_programmes
    >>> from implstats.simulate import PROGRAMMES
    >>> programmes = simulate_programmes(PROGRAMMES, rng=2012)
    >>> programmes.groupby("era").size().to_dict()
    {'early': 80, 'late': 70}
    >>> states = simulate_programmes(PROGRAMMES, rng=2012, rows="states")
    >>> int((states["state"] == "never started").sum())
    8
    """
    if not isinstance(scenario, ProgrammeScenario):
        kind = type(scenario).__name__
        raise DataError(f"scenario: a {kind} is not a ProgrammeScenario; make one with ProgrammeScenario(...)")
    _check.one_of("rows", rows, ("programmes", "states"))
    seed = seed_of(rng)
    drawn, organisation = _programmes(scenario, seed)
    followed = (pd.Timestamp(scenario.closing) - drawn["started"]).dt.days.to_numpy(dtype=float)
    states = _states(scenario, _ratios(scenario, drawn, organisation, seed), followed, seed)
    if rows == "states":
        return _history(scenario, drawn, states, seed)
    first = states[states["state"] == "active"]
    ended = first["next_state"].replace({"none": "active"}).to_numpy()
    outcome = {
        "years": first["stop"].to_numpy() / YEAR,
        "status": ended,
        "discontinued": (ended == "stopped").astype(int),
    }
    columns = ["programme", *PLACE, "training", "started", *outcome, *SCORES]
    return drawn.assign(**outcome)[columns]


def _programmes(scenario: ProgrammeScenario, seed: int) -> tuple[pd.DataFrame, Ints]:
    """Return the programmes that start: where, when, how trained, what they score; and their organisations' codes."""
    source = generators(seed, STARTED)
    era = np.repeat(np.arange(len(scenario.programmes)), list(scenario.programmes.values()))
    n = len(era)
    organisation = source.integers(0, scenario.organisations, n)
    training = source.integers(0, len(scenario.training), n)
    days = np.array([np.array(scenario.accrual[label], dtype="datetime64[D]") for label in scenario.programmes])
    length = (days[:, 1] - days[:, 0]).astype(int) + 1
    started = days[era, 0] + np.floor(source.random(n) * length[era]).astype("timedelta64[D]")
    columns = {
        "programme": np.arange(1, n + 1),
        **_places(scenario, organisation, era),
        "training": words(scenario.training, training),
        "started": started.astype("datetime64[ns]"),
    }
    return pd.DataFrame(columns | _scores(scenario, organisation, seed)), organisation


def _places(scenario: ProgrammeScenario, organisation: Ints, era: Ints) -> dict[str, NDArray[Any]]:
    width = max(len(str(scenario.organisations)), 2)
    names = [f"O{i + 1:0{width}d}" for i in range(scenario.organisations)]
    return {
        "country": words(scenario.countries, organisation % len(scenario.countries)),
        "organisation": words(names, organisation),
        "era": words(list(scenario.programmes), era),
    }


def _scores(scenario: ProgrammeScenario, organisation: Ints, seed: int) -> dict[str, NDArray[np.int64]]:
    """Return scores from 1 to 7, binomial(6, 1/2) + 1, alike within an organisation."""
    shared = generators(seed, ORGANISATIONS).standard_normal((len(SCORES), scenario.organisations))
    own = generators(seed, SCORED).standard_normal((len(SCORES), len(organisation)))
    share = scenario.score_correlation
    level = special.ndtr(np.sqrt(share) * shared[:, organisation] + np.sqrt(1 - share) * own)
    points = stats.binom.ppf(level, 2 * (CENTRE - 1), 0.5).astype(np.int64) + 1
    return dict(zip(SCORES, points, strict=True))


def _ratios(scenario: ProgrammeScenario, drawn: pd.DataFrame, organisation: Ints, seed: int) -> Floats:
    """Return by what each programme's hazard is multiplied: its terms, and the frailty of its organisation."""
    log_ratio = np.zeros(len(drawn))
    for name, value in scenario.log_hazard_ratios.items():
        if isinstance(value, Mapping):
            log_ratio += drawn[name].map({level: value.get(level, 0.0) for level in scenario.levels[name]})
        else:
            log_ratio += value * (drawn[name] - CENTRE)
    ratio = np.exp(log_ratio)
    variance = scenario.frailty_variance
    if variance:
        frailty = variance * generators(seed, FRAILTIES).standard_gamma(1 / variance, scenario.organisations)
        ratio *= frailty[organisation]
    return np.asarray(ratio)


def _states(scenario: ProgrammeScenario, ratio: Floats, followed: Floats, seed: int) -> pd.DataFrame:
    """Return every state of every programme (its row), in days since its first start, in order."""
    row, begin, state = np.arange(len(ratio)), np.zeros(len(ratio)), "active"
    parts = []
    for activity in itertools.count():
        last = followed[row]
        chance = generators(seed, TIMES, activity).standard_exponential((3, len(ratio)))[:, row]
        with np.errstate(divide="ignore", over="ignore"):  # a rate of 0 means never
            stop = _years_until(scenario.hazard, chance[0] / ratio[row])
            merge, pause = chance[1] / scenario.merging, chance[2] / scenario.restart
        end = begin + _whole_days(np.minimum(stop, merge))
        then = np.where(merge < stop, "merged", "stopped")
        parts.append(_spells(row, state, begin, end, last, then))
        merged, stopped = ((then == word) & (end < last) for word in ("merged", "stopped"))
        parts.append(_spells(row[merged], "merged", end[merged], np.full(merged.sum(), np.inf), last[merged], "none"))
        again = end[stopped] + _whole_days(pause[stopped])
        parts.append(_spells(row[stopped], "stopped", end[stopped], again, last[stopped], "restarted"))
        back = again < last[stopped]
        row, begin, state = row[stopped][back], again[back], "restarted"
        if not len(row):
            break
    return pd.concat(parts, ignore_index=True).sort_values(["row", "start"], ignore_index=True)


def _spells(row: Ints, state: str, start: Floats, end: Floats, last: Floats, then: Any) -> pd.DataFrame:
    """Return spells of one state, cut at the last day on which it is known."""
    seen = np.where(end <= last, then, "none").astype(object)
    return pd.DataFrame({"row": row, "state": state, "start": start, "stop": np.minimum(end, last), "next_state": seen})


def _history(scenario: ProgrammeScenario, drawn: pd.DataFrame, states: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the states in years, with whose they are, and after them the programmes that never started."""
    whose = drawn.loc[states["row"], ["programme", *PLACE]].reset_index(drop=True)
    years = {"start": states["start"] / YEAR, "stop": states["stop"] / YEAR}
    known = whose.assign(state=states["state"], **years, next_state=states["next_state"])
    eras = [code for code, label in enumerate(scenario.programmes) for _ in range(scenario.never_started.get(label, 0))]
    organisation = generators(seed, NEVER_STARTED).integers(0, scenario.organisations, len(eras))
    never = pd.DataFrame(_places(scenario, organisation, np.array(eras, dtype=np.intp)))
    never.insert(0, "programme", len(drawn) + 1 + np.arange(len(eras)))
    never = never.assign(state="never started", start=np.nan, stop=np.nan, next_state="none")
    return pd.concat([known, never], ignore_index=True) if eras else known


def _years_until(hazard: Sequence[float], level: Floats) -> Floats:
    """Return when the cumulative hazard reaches the level."""
    reached = np.concatenate([[0.0], np.cumsum(hazard)])
    beyond = np.maximum(level - reached[-1], 0.0) / hazard[-1]
    return np.asarray(np.interp(level, reached, np.arange(len(reached))) + beyond)


def _whole_days(years: Floats) -> Floats:
    return np.maximum(np.ceil(np.minimum(years, NEVER) * YEAR), 1.0)
