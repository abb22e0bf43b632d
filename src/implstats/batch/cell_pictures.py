"""The pictures of one cell of a batch, drawn by the worker that has its fit, and sent back as files."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from implstats.errors import ImplstatsError
from implstats.growth import CohortModel
from implstats.survival import CoxResult, CumulativeIncidence, SurvivalCurves

__all__ = ["ENDINGS", "drawn"]

ENDINGS = ("png", "svg")
# A cluster may carry out several cells in one process, and pyplot draws one figure at a time.
_ONE_AT_A_TIME = threading.Lock()


def drawn(results: Sequence[Any], asked: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, bytes]]:
    """Draw what there is to see of the results of a cell.

    Returns
    -------
    pictures : dict
        Name -> why there is none; empty where there is one.
    files : dict
        Name with its ending -> what goes into the file.
    """
    found: dict[str, str] = {}
    files: dict[str, bytes] = {}
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, draw in _to_draw(results, asked).items():
            found[name] = _why_not(draw, asked["site"], paths := [Path(folder) / f"{name}.{end}" for end in ENDINGS])
            files |= {path.name: path.read_bytes() for path in paths if not found[name]}
    return found, files


def _why_not(draw: Callable[[], Any], site: str, paths: Sequence[Path]) -> str:
    """Draw a picture under the name of its site; return why that cannot be, if it cannot."""
    from implstats.plot import style

    try:
        axes = draw()
        style.headed(axes, site)
        style.save(axes, *paths)
    except ImplstatsError as error:
        return str(error)
    except Exception as error:
        # A fault of ours: the numbers of the cell stand without it.
        return f"unexpected {type(error).__name__}: {error}; please report this"
    return ""


def _to_draw(results: Sequence[Any], asked: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return name -> what draws it, for every result that there is a picture of."""
    from implstats import plot

    labels = asked["figures"]["labels"]
    few: dict[str, Any] = {"labels": labels, "min_count": asked["min_count"]}
    made: dict[str, Callable[[], Any]] = {}
    for result in results:
        if isinstance(result, CohortModel):
            lines = asked["figures"]["individual_lines"]
            made["trajectories"] = partial(plot.trajectories, result, level=asked["level"], spaghetti=lines, **few)
            made["residuals"] = partial(plot.residuals, result, labels=labels)
        elif isinstance(result, SurvivalCurves):
            made["survival"] = partial(plot.survival, result, **few)
        elif isinstance(result, CumulativeIncidence):
            made["incidence"] = partial(plot.incidence, result, **few)
        elif isinstance(result, CoxResult):
            number = f"_{sum(isinstance(one, CoxResult) for one in results[: results.index(result) + 1])}"
            made[f"ratios{number}"] = partial(plot.hazard_ratios, result, level=asked["level"], labels=labels)
            made[f"check{number}"] = partial(_check_of, result, asked["level"], labels)
    return made


def _check_of(cox: CoxResult, level: float, labels: Mapping[str, str]) -> Any:
    from implstats import plot

    return plot.schoenfeld(cox.proportional_hazards(), level=level, labels=labels)
