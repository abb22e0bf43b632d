"""Write the simulated tables under data/: run once, the files are committed; `python tests/reference/make_data.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).resolve().parent / "data"


def waves(seed: int = 20170903) -> pd.DataFrame:
    """Return two cohorts in eight sites, five planned visits, drop-out and therapists who change between visits."""
    rng = np.random.default_rng(seed)
    months = np.array([0.0, 6.0, 12.0, 18.0, 24.0])
    site_level, site_change = rng.normal(0, 0.30, 8), rng.normal(0, 0.016, 8)
    therapist = rng.normal(0, 0.20, 10)
    rows = []
    for i in range(96):
        site = i % 8
        during = int(rng.random() < 0.5)
        age, sex = round(float(rng.normal(31, 8)), 1), ["f", "m"][int(rng.random() < 0.4)]
        u0, u1, u2 = rng.normal(0, 1, 3)
        level, slope, bend = 0.45 * u0, 0.022 * (-0.3 * u0 + np.sqrt(1 - 0.09) * u1), 0.0007 * u2
        last = 5 if rng.random() < 0.6 else int(rng.integers(1, 5))
        for k, t in enumerate(months[:last]):
            if k and rng.random() < 0.06:
                continue
            who = int(rng.integers(0, 10))
            mean = 1.9 - (0.045 - 0.022 * during) * t + 0.0006 * t * t + 0.006 * (age - 31) + 0.10 * (sex == "m")
            random = level + site_level[site] + (slope + site_change[site] * during) * t + bend * t * t + therapist[who]
            rows.append(
                {
                    "patient": f"p{i + 1:03d}",
                    "cohort": ["before", "during"][during],
                    "site": f"s{site + 1}",
                    "therapist": f"t{who + 1:02d}",
                    "visit": f"m{int(t):02d}",
                    "month": int(t),
                    "bsi": round(float(mean + random + rng.normal(0, 0.30)), 4),
                    "age": age,
                    "sex": sex,
                    "month_during": int(t) * during,
                }
            )
    return pd.DataFrame(rows)


def irregular(seed: int = 20190511) -> pd.DataFrame:
    """Return three cohorts, two to seven visits a patient, no two patients at the same times after the start."""
    rng = np.random.default_rng(seed)
    names = ["after", "before", "during"]
    slopes = dict(zip(names, [0.9, 1.2, 0.5], strict=True))
    rows = []
    for i in range(75):
        cohort = names[int(rng.integers(0, 3))]
        u0, u1 = rng.normal(0, 1, 2)
        times = np.concatenate([[0.0], np.cumsum(rng.uniform(0.15, 0.9, int(rng.integers(1, 7))))])
        for t in np.round(times, 3):
            y = 40 + 6 * u0 + (4 * slopes[cohort] + 2.2 * (0.2 * u0 + np.sqrt(0.96) * u1)) * t + rng.normal(0, 3)
            flat = 40 + 6 * u0 + 4 * slopes[cohort] * t + rng.normal(0, 3)
            rows.append({"patient": f"p{i + 1:02d}", "cohort": cohort, "year": float(t), "sipp": round(float(y), 3)})
            rows[-1]["flat"] = round(float(flat), 3)
    return pd.DataFrame(rows)


def small(seed: int = 20210318) -> pd.DataFrame:
    """Return three cohorts of twelve, visits at 0, 18 and 36 months; two of the outcomes swing back each time."""
    rng = np.random.default_rng(seed)
    months = np.array([0.0, 18.0, 36.0])
    fall = {"before": [0.0, 0.6, 0.9], "during": [0.0, 0.2, 0.3], "after": [0.0, 0.5, 0.6]}
    rows = []
    for i in range(36):
        cohort = ["before", "during", "after"][i % 3]
        level, noise, swing = rng.normal(0, 0.5), rng.normal(0, 1, 3), rng.normal(0, 1, 3)
        bsi = 2.0 - np.array(fall[cohort]) + level + noise * np.array([0.25, 0.35, 0.5])
        seesaw = 10.0 + 2.0 * (swing - 0.65 * swing.mean())
        last = 3 if rng.random() < 0.75 else int(rng.integers(1, 3))
        own, (a, b, c) = rng.normal(0, 2), rng.normal(0, 1, 3)
        sway = 10.0 + own + np.array([a, -0.7 * a + 0.71 * b, 0.49 * a - 0.5 * b + 0.71 * c])
        for k, t in enumerate(months[:last]):
            rows.append({"patient": f"p{i + 1:02d}", "cohort": cohort, "month": int(t)})
            rows[-1] |= {"bsi": round(float(bsi[k]), 4), "seesaw": round(float(seesaw[k]), 4)}
            rows[-1] |= {"sway": round(float(sway[k]), 4)}
    return pd.DataFrame(rows)


def quarters(seed: int = 20180901) -> pd.DataFrame:
    """Return programmes seen by the quarter: heavy ties, late entries, three causes, providers that share a fate."""
    rng = np.random.default_rng(seed)
    fates = rng.normal(0, 0.5, 24)
    rows = []
    for i in range(180):
        provider = i % 24
        era, region = (
            ["after", "before", "during"][int(rng.integers(0, 3))],
            ["north", "south"][int(rng.random() < 0.4)],
        )
        support, size = round(float(rng.normal(4, 1.5)), 1), int(rng.integers(1, 4))
        hazards = np.array(
            [0.05 * np.exp(fates[provider] - 0.25 * (support - 4) + 0.5 * (era == "during")), 0.03, 0.015]
        )
        time = rng.exponential(1 / hazards.sum())
        leaves = rng.exponential(25)
        ended = ["stopped", "merged", "moved"][int(rng.choice(3, p=hazards / hazards.sum()))]
        exact = round(float(min(time, leaves, 16)), 5)
        quarter = int(np.ceil(exact))
        rows.append(
            {
                "quarter": quarter,
                "exact": exact,
                "status": ended if time <= min(leaves, 16) else "running",
                "entry": int(rng.integers(0, quarter)) if rng.random() < 0.4 else 0,
                "weight": size,
                "share": round(float(rng.uniform(0.3, 2.5)), 3),
                "era": era,
                "region": region,
                "support": support,
                "training": int(rng.random() < 0.5),
                "provider": f"p{provider + 1:02d}",
            }
        )
    return pd.DataFrame(rows)


def moderation(seed: int = 20150401) -> pd.DataFrame:
    """Return patients of sites whose implementation was rated; better rated ones change faster, and differ besides."""
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(13):
        adherence, kind = round(float(rng.uniform(1, 7)), 1), ("clinic", "day", "home")[s % 3]
        site, trend, during = 0.25 * rng.normal(), 0.01 * rng.normal(), 0.008 * rng.normal()
        for i in range(6):
            era = "during" if (i + s % 2) % 2 else "before"
            drive = round(float(rng.normal(50, 10)), 1)
            level, slope = 0.4 * rng.normal(), 0.012 * rng.normal()
            last = 5 if rng.random() < 0.7 else int(rng.integers(2, 5))
            for t in np.arange(0, 25, 6)[:last]:
                change = -0.03 - 0.008 * (adherence - 4) + trend + (era == "during") * (0.012 + during) + slope
                y = 2.0 + 0.1 * (adherence - 4) + 0.005 * (drive - 50) + site + level + change * t
                rows.append(
                    {
                        "site": f"s{s + 1:02d}",
                        "patient": f"p{6 * s + i + 1:02d}",
                        "era": era,
                        "month": int(t),
                        "bsi": round(float(y + rng.normal(0, 0.25)), 4),
                        "adherence": adherence,
                        "kind": kind,
                        "drive": drive,
                    }
                )
    return pd.DataFrame(rows)


def interruption(seed: int = 20100101) -> pd.DataFrame:
    """Return patients treated for two years before, across or after a change: a jump, and a slower fall since."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(84):
        change = round(float(rng.uniform(-30, 50)), 1)
        age = round(float(rng.normal(31, 8)), 1)
        level, slope = 0.4 * rng.normal(), 0.012 * rng.normal()
        last = 9 if rng.random() < 0.7 else int(rng.integers(2, 9))
        for t in np.arange(0, 25, 3)[:last]:
            since = max(t - max(change, 0.0), 0.0)
            jump = 0.15 if change > 0 else -0.1
            mean = 2.0 - 0.045 * t + jump * (t >= change) + 0.02 * since + 0.006 * (age - 31)
            rows.append(
                {
                    "patient": f"p{i + 1:02d}",
                    "era": "during" if change <= 0 else "before",
                    "month": int(t),
                    "change": change if change < 24 else None,
                    "bsi": round(float(mean + level + slope * t + rng.normal(0, 0.25)), 4),
                    "age": age,
                }
            )
    return pd.DataFrame(rows)


def histories(seed: int = 20110610) -> pd.DataFrame:
    """Return programmes that stop, start again and merge, in whole months: ties, late entry, censoring, split rows."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(90):
        era = ["early", "late"][i % 2]
        # In the late era some are first seen when they have stopped, and some are first seen late.
        state = "stopped" if era == "late" and rng.random() < 0.25 else "active"
        month = int(rng.integers(1, 9)) if rng.random() < 0.2 else 0
        last = int(rng.integers(18, 61))
        while month < last:
            merges = state != "stopped" and rng.random() < 0.08
            end = month + 1 + int(rng.exponential({"active": 22, "stopped": 14, "restarted": 12}.get(state, 99)))
            then = (
                "merged" if merges else {"active": "stopped", "stopped": "restarted", "restarted": "stopped"}.get(state)
            )
            seen = end <= last and state != "merged"
            end = min(end, last) if state != "merged" else last
            cut = month + 2 if end > month + 4 and rng.random() < 0.15 else None
            if cut is not None:
                rows.append([f"p{i + 1:02d}", era, state, month, cut, "none"])
            rows.append([f"p{i + 1:02d}", era, state, month if cut is None else cut, end, then if seen else "none"])
            month, state = end, then if seen else state
    return pd.DataFrame(rows, columns=["programme", "era", "state", "start", "stop", "next_state"])


if __name__ == "__main__":
    waves().to_csv(DATA / "waves.csv", index=False, lineterminator="\n")
    irregular().to_csv(DATA / "irregular.csv", index=False, lineterminator="\n")
    small().to_csv(DATA / "small.csv", index=False, lineterminator="\n")
    quarters().to_csv(DATA / "quarters.csv", index=False, lineterminator="\n")
    histories().to_csv(DATA / "histories.csv", index=False, lineterminator="\n")
    interruption().to_csv(DATA / "interruption.csv", index=False, lineterminator="\n")
    moderation().to_csv(DATA / "moderation.csv", index=False, lineterminator="\n")
