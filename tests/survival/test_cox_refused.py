"""What fit_cox and its results refuse, with the whole message: *argument=value: fault; remedy*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError

ONE_TIME = pd.DataFrame({"years": [2.0, 2, 2], "stopped": [1, 1, 1], "x": [1.0, 2, 4]})
APART = "use ties='efron'"
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no events": (
        lambda cox: cox.fit(cox.frame.assign(stopped=0)),
        "event='stopped': no event in any row; without events there is no hazard to compare",
    ),
    "all events at one time": (
        lambda cox: cox.fit(ONE_TIME, terms=["x"]),
        "event='stopped': all 3 events are at 2, of all who were at risk; nobody is left to compare them with",
    ),
    "nobody goes on at any event": (
        lambda cox: cox.fit(
            pd.DataFrame({"years": [1.0, 2, 2], "since": [0.0, 1, 1], "stopped": 1, "x": [1.0, 2, 4]}),
            terms=["x"],
            entry="since",
        ),
        "event='stopped': at all 2 event times, all who were at risk had the event; nobody is left to compare them "
        "with",
    ),
    "one group": (
        lambda cox: cox.fit(cox.frame.assign(era="before"), terms=["era"]),
        "terms='era': only one level ('before') is left; drop it",
    ),
    "a constant number": (
        lambda cox: cox.fit(cox.frame.assign(support=4.0)),
        "'support': the same for everybody at risk at every event, or a linear combination of the other terms; drop "
        "it, or merge categories",
    ),
    "aliased columns": (
        lambda cox: cox.fit(cox.frame.assign(twice=lambda d: 2 * d["support"]), terms=["support", "twice", "era"]),
        "'twice': the same for everybody at risk at every event, or a linear combination of the other terms; drop it, "
        "or merge categories",
    ),
    "a stratum as a term": (
        lambda cox: cox.fit(terms=["country", "support"], strata="country"),
        "'country[NL]', 'country[UK]': the same for everybody at risk at every event, or a linear combination of the "
        "other terms; drop it, or merge categories",
    ),
    "no terms": (lambda cox: cox.fit(terms=[]), "terms=[]: no term is named; name a column, or use survival_curves"),
    "terms without a column": (
        lambda cox: cox.fit(terms="1"),
        "terms='1': leaves no column; name one, or use survival_curves",
    ),
    "one cluster": (
        lambda cox: cox.fit(cox.frame.assign(country="NL"), cluster="country"),
        "cluster='country': one group only ('NL'); leave it out",
    ),
    "one frailty": (
        lambda cox: cox.fit(cox.frame.assign(country="NL"), frailty="country"),
        "frailty='country': one group only ('NL'); leave it out",
    ),
    "ties": (lambda cox: cox.fit(ties="efrom"), "ties='efrom': unknown option; did you mean 'efron'?"),
    "a penalty's name": (
        lambda cox: cox.fit(penalty="first"),
        "penalty='first': unknown option; did you mean 'firth'?",
    ),
    "a penalty of nothing": (
        lambda cox: cox.fit(penalty=0),
        "penalty=0: not above 0; penalty='firth' asks for Firth's",
    ),
    "frailty and cluster": (
        lambda cox: cox.fit(frailty="organisation", cluster="organisation"),
        "frailty='organisation': does not go with cluster: both say how rows hang together; leave one out",
    ),
    "frailty and weights": (
        lambda cox: cox.fit(frailty="organisation", weights="copies"),
        "frailty='organisation': does not go with weights: a group's frailty is made of whole rows; repeat rows, or "
        "use cluster=",
    ),
    "frailty and a penalty": (
        lambda cox: cox.fit(frailty="organisation", penalty=1),
        "frailty='organisation': does not go with penalty: the frailty is a penalty of its own; leave one out",
    ),
    "Firth and cluster": (
        lambda cox: cox.fit(cluster="organisation", penalty="firth"),
        "cluster='organisation': does not go with penalty='firth': Firth's intervals are those of a likelihood of "
        "independent rows; leave one out",
    ),
    "exact and cluster": (
        lambda cox: cox.fit(cluster="organisation", ties="exact"),
        f"ties='exact': does not go with cluster: its sandwich is not defined; {APART}",
    ),
    "exact and weights": (
        lambda cox: cox.fit(weights="copies", ties="exact"),
        f"ties='exact': does not go with weights: a set of rows has no weight; {APART}",
    ),
    "exact and frailty": (
        lambda cox: cox.fit(frailty="organisation", ties="exact"),
        f"ties='exact': does not go with frailty: its likelihood has no groups; {APART}",
    ),
    "exact and Firth": (
        lambda cox: cox.fit(penalty="firth", ties="exact"),
        f"ties='exact': does not go with penalty='firth': its third moments are not had in linear time; {APART}",
    ),
    "too large tied sets": (
        lambda cox: cox.fit(
            pd.DataFrame({"years": np.repeat([1.0, 2.0], 900), "stopped": 1, "x": np.arange(1800) % 7}),
            terms=["x"],
            ties="exact",
        ),
        "ties='exact': 900 tied events among 1800 at risk; use ties='efron'",
    ),
    "causes": (
        lambda cox: cox.fit(event="status", censored="active"),
        "event='status': holds the causes 'merged', 'stopped'; say which one with cause=",
    ),
    "a cause that is none": (
        lambda cox: cox.fit(event="status", censored="active", cause="merger"),
        "cause='merger': no such cause; did you mean 'merged'?",
    ),
    "a cause of 0 and 1": (
        lambda cox: cox.fit(cause="merged"),
        "cause='merged': 'stopped' holds 0 and 1; leave cause= out",
    ),
    "several faults": (
        lambda cox: cox.fit(ties="efrom", penalty=-1, frailty="organisation", cluster="organisation"),
        "ties='efrom': unknown option; did you mean 'efron'?\n"
        "penalty=-1: not above 0; penalty='firth' asks for Firth's\n"
        "frailty='organisation': does not go with cluster: both say how rows hang together; leave one out\n"
        "frailty='organisation': does not go with penalty: the frailty is a penalty of its own; leave one out",
    ),
    "entry not before exit": (
        lambda cox: cox.fit(cox.frame.assign(since=lambda d: d["years"]), entry="since"),
        "entry='since': not before years in rows 0, 1, 2 and 237 more; a spell ends after it starts",
    ),
    "a kind of residual": (
        lambda cox: cox.fit().residuals("shoenfeld"),
        "kind='shoenfeld': unknown option; did you mean 'schoenfeld'?",
    ),
    "score residuals of exact ties": (
        lambda cox: cox.fit(ties="exact").residuals("score"),
        "kind='score': not defined for ties='exact'; fit with ties='efron'",
    ),
    "a transform": (
        lambda cox: cox.fit().proportional_hazards("ranks"),
        "transform='ranks': unknown option; did you mean 'rank'?",
    ),
    "changes with exact ties": (
        lambda cox: cox.fit(ties="exact").proportional_hazards(),
        "proportional_hazards: not defined for ties='exact'; fit with ties='efron'",
    ),
    "changes under a penalty": (
        lambda cox: cox.fit(penalty=1).proportional_hazards(),
        "proportional_hazards: a penalised fit has no score of 0 to test from; fit without penalty=",
    ),
    "frailties without frailty": (
        lambda cox: cox.fit().frailties(),
        "frailties: the model has no frailty; fit it with frailty= and the column of the groups",
    ),
    "survival with frailty": (
        lambda cox: cox.fit(frailty="organisation").survival_at(pd.DataFrame({"era": ["before"], "support": [4.0]}), 1),
        "frailty: survival depends on the group's own hazard ratio, of which a profile says nothing; fit with "
        "cluster= or strata= in its place",
    ),
    "survival of one cause among several": (
        lambda cox: cox.fit(event="status", censored="active", cause="merged").survival_at(
            pd.DataFrame({"era": ["before"], "support": [4.0]}), 1
        ),
        "cause='merged': other causes end spells too, so that its hazard alone gives no share of them; see "
        "cumulative_incidence, and incidence_at() of fit_fine_gray",
    ),
    "a time before the start": (
        lambda cox: cox.fit().survival_at(pd.DataFrame({"era": ["before"], "support": [4.0]}), -1),
        "times=-1: negative; time counts from the start",
    ),
    "several profiles in a mapping": (
        lambda cox: cox.fit().survival_at({"era": "before", "support": [2.0, 6.0]}, 1),
        "profile='support': several values; a mapping is one profile, a DataFrame has one in each row",
    ),
    "a time beyond the last": (
        lambda cox: cox.fit().survival_at(pd.DataFrame({"era": ["before"], "support": [4.0]}), 50),
        "times=50: beyond the last time, 7.916666666666667",
    ),
    "an unknown stratum": (
        lambda cox: cox.fit(strata="country").survival_at(
            pd.DataFrame({"era": ["before"], "support": [4.0], "country": ["U"]}), 1
        ),
        "profile: stratum 'U' of row 0 is not in the fit; did you mean 'UK'?",
    ),
    "some of the strata": (
        lambda cox: cox.fit(strata=["country", "kind"]).survival_at(
            pd.DataFrame({"era": ["before"], "support": [4.0], "country": ["UK"]}), 1
        ),
        "profile: names 'country' but not every stratum; give all of ['country', 'kind'], or none",
    ),
    "a second opinion on late entry": (
        lambda cox: cox.fit(entry="since").cross_check(),
        "cross_check: with entry= lifelines takes minutes, and its baseline is wrong",
    ),
    "a second opinion on Breslow": (
        lambda cox: cox.fit(ties="breslow").cross_check(),
        "cross_check: lifelines knows Efron's ties only, this is 'breslow'",
    ),
    "a second opinion on Firth": (
        lambda cox: cox.fit(penalty="firth").cross_check(),
        "cross_check: lifelines has no penalty= of this kind; compare with a fit without it",
    ),
    "a second opinion on many clusters": (
        lambda cox: cox.fit(pd.concat([cox.frame] * 25, ignore_index=True), cluster="organisation").cross_check(),
        "cross_check: with cluster= lifelines takes minutes beyond 5000 rows",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_how(cox: Any, name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(DataError) as caught:
        call(cox)
    assert str(caught.value) == message
