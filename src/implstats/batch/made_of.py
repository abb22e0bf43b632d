"""What an answer was made of: rows, what was asked of them, and the version, as fingerprints that can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from implstats.batch.data import Data
from implstats.tables import plain

__all__ = ["fingerprint", "fingerprint_of_rows", "made_of", "source_of"]


def fingerprint(record: Any) -> str:
    """Return a hash of what JSON can hold; the order of names does not matter."""
    return hashlib.sha256(json.dumps(plain(record), sort_keys=True).encode()).hexdigest()


def fingerprint_of_rows(frame: pd.DataFrame) -> str:
    """Return a hash of all rows in their order, with names and kinds of the columns."""
    columns = [[str(name), str(kind)] for name, kind in frame.dtypes.items()]
    digest = hashlib.sha256(json.dumps(columns).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def made_of(rows: str, asked: Any, sd: float | None = None) -> dict[str, Any]:
    """Return what an answer is made of: as long as all of it stays, the answer does.

    Parameters
    ----------
    rows : str
        Fingerprint of the rows.
    asked : Any
        What is asked, as JSON can hold it.
    sd : float, optional
        A standard deviation that was found in other rows too.
    """
    from implstats import __version__

    return {"rows": rows, "sd": sd, "asked": fingerprint(asked), "version": __version__}


def source_of(data: Data, sha256: str) -> dict[str, Any]:
    """Return which file an analysis reads, its hash, and how it is read."""
    read = asdict(data)
    record: Mapping[str, Any] = {"file": read.pop("file"), "sha256": sha256, "read": plain(read)}
    return dict(record)
