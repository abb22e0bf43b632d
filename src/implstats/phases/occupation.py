"""In which state programmes are over time (active, stopped, restarted), and how long they spend in each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.events import INTERVALS, intervals, step
from implstats._core.occupation import Occupation, at_risk, mean_times, occupation
from implstats.design.states import StateRoles, States, read_states
from implstats.results import Estimates, Result, Sample, lock
from implstats.survival.groups import name_of, write
from implstats.survival.times import asked, round_times

__all__ = ["StateOccupation", "state_occupation"]

Floats = NDArray[np.float64]

JACKKNIFE = "standard errors: infinitesimal jackknife by id, which takes whole histories as independent"
SYMMETRIC = "intervals are symmetric, and may reach below 0 where a state is rare"
# A state in which nobody is followed beyond this share of a group's time is said to be so.
EARLY = 0.9
# So many kinds of moves are told one by one.
MANY_MOVES = 6


@dataclass(frozen=True, eq=False, repr=False)
class StateOccupation(Result):
    """The probability of being in each state over time, per group.

    Attributes
    ----------
    histories : States
        Who was in which state from when to when; read-only arrays.
    estimates : tuple of Occupation
        One a group.
    interval : str
        The scale of the intervals: log, log-log, plain, logit or arcsine.
    level : float
        The level of the printed intervals.
    times : numpy.ndarray or None
        The times of the table; None for all at which a row ends.
    """

    histories: States
    estimates: tuple[Occupation, ...]
    interval: str
    level: float
    times: Floats | None

    def __post_init__(self) -> None:
        lock((self.estimates, self.times))

    @property
    def states(self) -> tuple[Any, ...]:
        """What somebody can be in."""
        return self.histories.labels

    @property
    def groups(self) -> tuple[Any, ...]:
        """The groups; "all" where there are none."""
        return self.histories.groups

    @property
    def sample(self) -> Sample:
        """Rows, and what was counted apart."""
        return self.histories.sample

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a group, state and time; the estimates of all states add up to 1."""
        own = [e.time for e in self.estimates]
        return self._stacked(own if self.times is None else [self.times] * len(self.groups), level)

    def at(self, times: Any, *, level: float | None = None) -> pd.DataFrame:
        """Return the probability of every state at some times; nothing (NaN) beyond a group's last time.

        Parameters
        ----------
        times : number or list of numbers
            In the unit of `start` and `stop`; a change at t has happened by t.
        level : float, optional
            Level of the intervals; by default the one asked for when the estimates were made.
        """
        return self._stacked([asked(times)] * len(self.groups), level)

    def _stacked(self, times: Sequence[Floats], level: float | None) -> pd.DataFrame:
        z = float(special.ndtri(0.5 + _check.level(self.level if level is None else level) / 2))
        parts = [self._part(g, k, times[g], z) for g in range(len(self.groups)) for k in range(len(self.states))]
        return pd.concat(parts, ignore_index=True)

    def _part(self, g: int, k: int, times: Floats, z: float) -> pd.DataFrame:
        own = self.estimates[g]
        estimate = step(own.time, own.probability[:, k], times, own.initial[k])
        error = np.sqrt(step(own.time, own.variance[:, k], times, own.initial_variance[k]))
        unseen = times > own.time[-1]
        estimate[unseen] = error[unseen] = np.nan
        log_sd = np.divide(error, estimate, out=np.zeros(len(times)), where=estimate > 0)
        low, high = intervals(estimate, log_sd, self.interval, z)
        present = at_risk(self.histories.histories[g], times)[:, k]
        columns = {"group": [self.groups[g]] * len(times), "state": [self.states[k]] * len(times), "time": times}
        columns |= {"at_risk": present, "estimate": estimate, "std_error": error, "conf_low": low, "conf_high": high}
        return pd.DataFrame(columns)

    def at_risk(self, times: Any) -> pd.DataFrame:
        """Return how many are in each state, and under observation, just before some times (at 0: by then)."""
        when = asked(times)
        parts = [
            pd.DataFrame({"group": group, "state": state, "time": when, "at_risk": present})
            for group, rows in zip(self.groups, self.histories.histories, strict=True)
            for state, present in zip(self.states, at_risk(rows, when).T, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    def moves(self) -> pd.DataFrame:
        """Return how often each state followed each, per group; only what happened."""
        rows = [
            {"group": group, "state": self.states[j], "next_state": self.states[k], "n": int(own.moves[j, k])}
            for group, own in zip(self.groups, self.estimates, strict=True)
            for j, k in np.argwhere(own.moves)
        ]
        return pd.DataFrame(rows, columns=["group", "state", "next_state", "n"])

    def time_in_states(self, tau: float | None = None, *, level: float | None = None) -> Estimates:
        """Tell how long somebody is in each state on average, from 0 up to a common end; together that is tau.

        Parameters
        ----------
        tau : float, optional
            The end of what is averaged; by default the last time that every group reaches.
        level : float, optional
            Level of the printed intervals.

        Raises
        ------
        DataError
            If tau is not above 0, or beyond the follow-up of a group.
        """
        last = {
            name_of(label, self.call["by"]): float(e.time[-1])
            for label, e in zip(self.groups, self.estimates, strict=True)
        }
        shortest = min(last, key=lambda name: last[name])
        end = last[shortest] if tau is None else _check.number("tau", tau, above=0)
        if end > last[shortest]:
            faults, when = Faults(), _check.show(last[shortest])
            faults.add(
                "tau", tau, f"beyond the follow-up of {shortest}, which ends at {when}", f"choose tau up to {when}"
            )
            faults.settle()
        found = [mean_times(rows, end) for rows in self.histories.histories]
        labels = {
            "group": [group for group in self.groups for _ in self.states],
            "state": list(self.states) * len(self.groups),
        }
        mean, variance = (np.concatenate(columns) for columns in zip(*found, strict=True))
        title = f"Mean time in each state from 0 to {write(end)}, in the unit of {self.call['start']}"
        df = np.full(len(mean), np.inf)
        given = self.level if level is None else _check.level(level)
        return Estimates(
            {**self.call, "tau": end}, title, labels, mean, np.sqrt(variance), df, (JACKKNIFE, SYMMETRIC), level=given
        )

    def glance(self) -> pd.DataFrame:
        """Return one row: rows used, moves seen, and how many were never under observation."""
        never = sum(sum(counts.values()) for counts in self.histories.never)
        seen = int(sum(e.moves.sum() for e in self.estimates))
        return pd.DataFrame({"rows": [self.sample.rows], "events": [seen], "never_observed": [never]})

    def header(self) -> list[str]:
        """Return what is estimated, who moved where in every group, and what a reader must know."""
        call = self.call
        by = f", by {call['by']}" if call["by"] else ""
        lines = [
            f"Probability of each {call['state']} over time{by} "
            f"(Aalen-Johansen; {100 * self.level:.10g}% {self.interval} intervals)"
        ]
        for g, group in enumerate(self.groups):
            lines += self._of_group(g, name_of(group, call["by"]))
        return [*lines, JACKKNIFE, *self.histories.notes, *self.sample.in_words()]

    def _of_group(self, g: int, name: str) -> Iterator[str]:
        own, rows = self.estimates[g], self.histories.histories[g]
        pairs = np.argwhere(own.moves)
        moved = ", ".join(f"{own.moves[j, k]} {self.states[j]} to {self.states[k]}" for j, k in pairs)
        if len(pairs) > MANY_MOVES:
            moved = f"{own.moves.sum()} moves of {len(pairs)} kinds (see moves())"
        never = "".join(f"; {n} {label}: no time in any state" for label, n in self.histories.never[g].items())
        people, last = self.histories.people[g], write(float(own.time[-1]))
        told = "1 history" if people == 1 else f"{people} histories"
        yield f"{name}: {told}, {moved or 'nobody moved'}, up to {last}{never}"
        begun = {label: p for label, p in zip(self.states, own.initial, strict=True) if p > 0}
        if len(begun) > 1:
            shares = ", ".join(f"{label} {p:.2f}" for label, p in begun.items())
            yield f"{name}: begins with the shares of those under observation before the first change: {shares}"
        if (rows.entry.min()) > 0:
            yield f"{name}: nobody is under observation before {write(rows.entry.min())}; until then nothing changes"
        for k, label in enumerate(self.states):
            seen = self._last_seen(g, k)
            if own.probability[-1, k] > 0 and seen < EARLY * own.time[-1]:
                until = f"{name}: nobody is under observation in {label} after {write(seen)}"
                yield f"{until}; what is shown of it stands still"

    def _last_seen(self, g: int, k: int) -> float:
        """Return until when somebody is followed in a state; infinity if nobody was seen to leave it."""
        own, rows = self.estimates[g], self.histories.histories[g]
        return float(rows.exit[rows.state == k].max()) if own.moves[k].any() else np.inf

    def _shown(self) -> pd.DataFrame:
        return self.at(round_times(max(e.time[-1] for e in self.estimates)) if self.times is None else self.times)


def state_occupation(
    frame: pd.DataFrame,
    *,
    id: Hashable,
    state: Hashable,
    start: Hashable,
    stop: Hashable,
    next_state: Hashable,
    censored: Any = None,
    by: Hashable | None = None,
    states: Sequence[Any] | None = None,
    times: Any = None,
    interval: str = "logit",
    level: float = 0.95,
) -> StateOccupation:
    """How many programmes are active, stopped or active again, at every time after their start?

    Aalen and Johansen's estimate over any states, in any order: states may be left and come back to, rows may begin
    late (delayed entry) and end without anything that followed (censoring).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme and stretch of time in one state. Rows without start and stop were never under observation
        ("never started"): they are counted, and no part of any estimate.
    id, state : str
        Columns: whose history it is, and the state in that row. Phases are states too.
    start, stop : str
        Columns of numbers, 0 or more: the stretch, in time since the programme's own start.
    next_state : str
        Column: the state that followed at `stop`.
    censored : value of that column, optional
        What stands for "nothing was seen to follow"; None: a missing value. A row whose state goes on in the next row
        has it too: rows may be split anywhere.
    by : str, optional
        Column with the groups, each of which gets its estimates.
    states : list, optional
        All states in the order of tables and pictures; by default as they sort, or as a categorical column has them.
    times : number or list of numbers, optional
        Times of the table; by default every time at which a row ends.
    interval : {"logit", "log", "log-log", "plain", "arcsine"}
        The scale of the probability on which an interval is symmetric.
    level : float
        Level of the intervals, between 0 and 1.

    Returns
    -------
    StateOccupation
        `at(times)`, `time_in_states(tau)` (mean time in each state), `moves()`, `at_risk(times)`;
        `implstats.plot.phases` stacks the states over time.

    Raises
    ------
    DataError
        Rows of one id that overlap or contradict each other, a missing value, a stretch of no length; all faults
        together, with rows.

    Notes
    -----
    p(t) = p(0) times the product over times s up to t of H(s), where H_jk(s) is the share of those in state j just
    before s who move to k at s. p(0) are the shares of the states among those under observation just before the first
    move. That the past does not matter (Markov) need not be assumed if censoring has nothing to do with past or future
    (Datta & Satten 2001); with late entry it is. Standard errors are the infinitesimal jackknife over ids, as survfit
    gives for several states, not Aalen's as in `cumulative_incidence`. A probability of 0 has no interval.

    References
    ----------
    Aalen & Johansen 1978, https://www.jstor.org/stable/4615704; Datta & Satten 2001, DOI
    10.1016/S0167-7152(01)00155-9; Aalen, Borgan & Gjessing 2008, DOI 10.1007/978-0-387-68560-1.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> history = pd.DataFrame(
    ...     {
    ...         "programme": ["a", "b", "b", "b", "c", "c", "d"],
    ...         "state": ["active", "active", "stopped", "restarted", "active", "stopped", "active"],
    ...         "from": [0, 0, 2, 4, 0, 3, 0],
    ...         "to": [6, 2, 4, 6, 3, 6, 5],
    ...         "then": [None, "stopped", "restarted", None, "stopped", None, None],
    ...     }
    ... )
    >>> found = ist.state_occupation(history, id="programme", state="state", start="from", stop="to", next_state="then")
    >>> found.at(5)[["state", "at_risk", "estimate"]]
           state  at_risk  estimate
    0     active        2      0.50
    1  restarted        1      0.25
    2    stopped        1      0.25
    >>> found.time_in_states(6).tidy()["estimate"].tolist()
    [4.25, 0.5, 1.25]
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "interval", interval, INTERVALS)
    faults.ask(_check.level, level)
    when = None if times is None else faults.ask(asked, times)
    roles = StateRoles(id, state, start, stop, next_state, censored, by, states)
    found = read_states(frame, roles, faults)
    estimates = tuple(occupation(rows) for rows in found.histories)
    return StateOccupation(call, found, estimates, interval, level, when)
