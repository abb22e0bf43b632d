"""Make the notebooks from their texts, executed: `python notebooks/build.py [names]`; without names, all of them.

NN_name.md is what one writes and reviews. NN_name.ipynb, with its outputs, is made from it here and never edited by
hand. What would differ from one build to the next (times, identifiers, versions) is left out, so that a second build
gives the same bytes.
"""

from __future__ import annotations

import base64
import copy
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

import implstats

HERE = Path(__file__).resolve().parent
COLOURS = 128
"""Of a picture: enough for lines, bands and letters, in a third of the bytes."""
# What a reader's own notebook would only warn about is a mistake in one that teaches; the kernel's own affairs are not.
PRELUDE = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="asyncio|ipykernel|IPython|jupyter|tornado|traitlets|zmq")
"""
METADATA = {
    "jupytext": {"formats": "ipynb,md:myst"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}


def texts(names: Iterable[str] = ()) -> list[Path]:
    """Return the texts, answers included, whose file name begins with one of the names; all of them without names."""
    found = sorted(HERE.glob("[0-9]*.md")) + sorted((HERE / "answers").glob("[0-9]*.md"))
    wanted = tuple(Path(name).stem for name in names)
    return [text for text in found if text.stem.startswith(wanted)] if wanted else found


def notebook_of(text: Path) -> Any:
    """Return a text as a notebook that was not executed yet; a cell's identifier is its place."""
    notebook = jupytext.read(text)
    cells = [nbformat.from_dict(dict(cell)) for cell in notebook.cells]
    for place, cell in enumerate(cells, start=1):
        cell["id"] = f"cell-{place:02d}"
    return nbformat.from_dict({"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})


def executed(notebook: Any, *, at: Path = HERE) -> Any:
    """Return a notebook with its outputs, made in the folder `at` with warnings as errors."""
    done = copy.deepcopy(notebook)
    done.cells.insert(0, nbformat.v4.new_code_cell(PRELUDE))
    client = NotebookClient(
        done,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(at)}},
    )
    client.execute(env=environment())
    del done.cells[0]
    return stripped(done)


def environment() -> dict[str, str]:
    """Return what the kernel's process sees: this very implstats, one thread, and pictures inside the notebook."""
    mine = str(Path(implstats.__file__).resolve().parents[1])
    others = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    path = os.pathsep.join([mine, *filter(None, [os.environ.get("PYTHONPATH")])])
    return others | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def stripped(notebook: Any) -> Any:
    """Return an executed notebook without what only this execution says: numbers count its code cells from 1."""
    notebook.metadata = nbformat.from_dict(METADATA)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    return notebook


def smaller(picture: str) -> str:
    """Return a picture with few colours, and without what the program that drew it says of itself."""
    drawn = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    held = io.BytesIO()
    drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
    return base64.b64encode(held.getvalue()).decode()


def format_code(text: Path) -> None:
    """Write the code of a text as ruff formats it; words stay as they are."""
    before = notebook_of(text)
    ruff = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(text.with_suffix(".ipynb")), "-"]
    done = subprocess.run(ruff, input=nbformat.writes(before), stdout=subprocess.PIPE, text=True, check=True)
    after = nbformat.reads(done.stdout, as_version=4)
    was = written = text.read_text(encoding="utf-8")
    for old, new in zip(before.cells, after.cells, strict=True):
        written = written.replace(f"\n{old.source}\n```\n", f"\n{new.source}\n```\n")
    if written != was:
        text.write_text(written, encoding="utf-8")


def build(text: Path) -> float:
    """Write the notebook of one text; return how many seconds its execution took."""
    format_code(text)
    started = time.perf_counter()
    notebook = executed(notebook_of(text), at=text.parent)
    seconds = time.perf_counter() - started
    text.with_suffix(".ipynb").write_text(nbformat.writes(notebook, indent=1) + "\n", encoding="utf-8")
    return seconds


def main(names: list[str]) -> int:
    """Build what was named; return 1 if a name is nobody's."""
    strangers = [name for name in names if not texts([name])]
    if strangers:
        print(f"no text in {HERE.name}/ begins with: {', '.join(strangers)}", file=sys.stderr)
        return 1
    for text in texts(names):
        print(f"{text.relative_to(HERE).with_suffix('.ipynb')}: {build(text):.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
