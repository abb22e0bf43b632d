"""What every test and every example of the documentation shares: nothing is shown, and figures are closed."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def _closed_figures() -> Any:
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
