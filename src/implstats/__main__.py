"""The command `implstats`: run a plan, check one, compare two runs, or copy an example to start from."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from implstats import __version__

__all__ = ["main"]

DONE, UNEXPECTED, BAD, SOME_FAILED = 0, 1, 2, 3
# As `diff` of files has it: whatever keeps two runs from being compared is 2.
SAME, MOVED, TROUBLE = 0, 1, 2

ROWS = "(rows are counted from 0, below the names of the columns; lines are those of the file)"

ENDS = """
exit status: 0 done, 1 an unexpected error, 2 a bad plan, bad data or bad usage, 3 an outcome or a cell that could not
be analysed (the others stand)
"""

ENDS_OF_DIFF = """
exit status: 0 nothing moved, 1 something moved, 2 the two cannot be compared
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit status; an error is one message on standard error.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after `implstats`; by default those of the process.

    Returns
    -------
    int
        0 done, 1 an unexpected error, 2 a bad plan, bad data or bad usage, 3 an outcome that could not be analysed. Of
        `diff`: 0 nothing moved, 1 something moved, 2 the two cannot be compared.
    """
    try:
        asked = _parser().parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else BAD
    # Pictures go to files: no window system is asked for.
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Refits are many and small: threads of the linear algebra would wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        status: int = asked.do(asked)
    except KeyboardInterrupt as stop:
        return _complain(f"stopped; {_stays(stop)}", asked.trouble)
    except Exception as error:
        return _complain(*_told(error, asked.trouble))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="implstats",
        description="How much of a treatment's effect is left when it is given under other circumstances.",
        epilog=ENDS,
    )
    parser.add_argument("--version", action="version", version=f"implstats {__version__}")
    parser.set_defaults(trouble=UNEXPECTED)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="carry out a plan: tables, pictures and a report in a folder",
        description="Check a plan whole, fit its models, and write tables, pictures and report.html to a folder. "
        "The folder appears when everything is written; of a plan of many cells, each is written when it is done.",
        epilog=ENDS,
    )
    run.add_argument("plan", metavar="PLAN.toml", help="the plan; `implstats example` gives one to copy")
    run.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="the folder: new, empty, or of an earlier run (replaced)",
    )
    run.add_argument("--workers", type=int, default=1, metavar="N", help="processes that analyse cells (1)")
    run.add_argument("--resume", action="store_true", help="go on with a plan of many cells: skip what is done")
    run.add_argument("--cluster", metavar="tcp://...", help="a Dask scheduler that the cells are handed to")
    run.set_defaults(do=_run)

    check = commands.add_parser(
        "check",
        help="check a plan and its data, and say what would be run",
        description="Check a plan and its data without fitting anything, and say what would be run.",
        epilog=ENDS,
    )
    check.add_argument("plan", metavar="PLAN.toml", help="the plan")
    check.set_defaults(do=_check)

    diff = commands.add_parser(
        "diff",
        help="compare two runs: which answers moved, and why",
        description="Say which answers moved between two runs, and whether data, plan or version did it.",
        epilog=ENDS_OF_DIFF,
    )
    diff.add_argument("old", metavar="OLD", help="the folder of a run")
    diff.add_argument("new", metavar="NEW", help="the folder of a later one")
    diff.add_argument("--out", metavar="FILE.csv", help="write every move to a table; no other file is overwritten")
    diff.add_argument(
        "--tolerance",
        type=float,
        default=1e-6,
        metavar="X",
        help="what counts as the same, in halves of an interval's width (%(default)g)",
    )
    diff.set_defaults(do=_diff, trouble=TROUBLE)

    example = commands.add_parser(
        "example",
        help="copy a bundled example to start from",
        description="Copy an example's table, its dictionary and its plan, if it has one. No file is overwritten.",
    )
    example.add_argument("name", metavar="NAME", help="for example reorganisation")
    example.add_argument("folder", metavar="DIR", help="the folder to copy to")
    example.set_defaults(do=_example)
    return parser


def _run(asked: argparse.Namespace) -> int:
    from implstats._parallel import said
    from implstats.batch.run import carry_out

    how = {"workers": asked.workers, "resume": asked.resume, "cluster": asked.cluster}
    done = carry_out(asked.plan, out=asked.out, **how, told=said("cells"))
    print(f"{done.on_screen()}\n\nThe report and everything behind it: {Path(asked.out) / 'report.html'}")
    errors = done.errors
    if not errors:
        return DONE
    return _complain("\n".join(f"{name} could not be analysed: {why}" for name, why in errors.items()), SOME_FAILED)


def _check(asked: argparse.Namespace) -> int:
    from implstats.batch import check_plan, read_plan

    checked = check_plan(read_plan(asked.plan))
    print("\n".join(checked.in_words()))
    return SOME_FAILED if checked.faults else DONE


def _diff(asked: argparse.Namespace) -> int:
    from implstats.batch.diff import compare_runs, write_moves

    found = compare_runs(asked.old, asked.new, tolerance=asked.tolerance)
    if asked.out is not None:
        write_moves(found, asked.out)
    print(found)
    return SAME if found.same else MOVED


def _example(asked: argparse.Namespace) -> int:
    from implstats.errors import PlanError
    from implstats.examples import example_files

    files, folder = example_files(asked.name), Path(asked.folder)
    if folder.exists() and not folder.is_dir():
        raise PlanError(f"DIR={asked.folder!r}: a file, not a folder")
    there = [file.name for file in files if (folder / file.name).exists()]
    if there:
        raise PlanError(f"DIR={asked.folder!r}: {', '.join(there)} there already; nothing was copied")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
        print(folder / file.name)
    return DONE


def _told(error: Exception, unexpected: int) -> tuple[str, int]:
    """Return what to say of an error, and the exit status."""
    from implstats.errors import ConvergenceError, DataError, PlanError

    if isinstance(error, PlanError | DataError):
        return str(error), BAD
    if isinstance(error, ConvergenceError):
        return str(error), SOME_FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {_stays(error)}", unexpected
    return f"unexpected {type(error).__name__}: {error}; {_stays(error)}. Please report this", unexpected


def _stays(error: BaseException) -> str:
    """Return what of a run stays: of one that is whole or not there, nothing."""
    return "; ".join(getattr(error, "__notes__", ["nothing was written"]))


def _complain(message: str, status: int) -> int:
    first, *rest = message.split("\n")
    if re.search(r"\brows? \d", message):
        rest.append(ROWS)
    print("\n".join([f"implstats: {first}", *(f"           {line}" for line in rest)]), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
