"""The documentation builds without a warning, needs no network, names everything public, and its plans can be run."""

from __future__ import annotations

import html
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import implstats as ist
from implstats.__main__ import main

for needed in ("sphinx", "myst_nb", "pydata_sphinx_theme", "latex2mathml"):
    pytest.importorskip(needed)

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PLOTS = tuple(ist.plot.__all__)
NAMES = [*ist._HOME, *(f"plot.{name}" for name in PLOTS)]
PAGES = [
    "index",
    "get_started",
    "how_to/own_data",
    "how_to/mmrm_or_growth",
    "how_to/covariates_and_weights",
    "how_to/drop_out",
    "how_to/change_date",
    "how_to/programmes",
    "how_to/ratings",
    "how_to/many_sites",
    "how_to/write_it_up",
    "for_r_users",
    "for_spss_and_stata_users",
    "methods/mixed_models",
    "methods/mmrm",
    "methods/improvement",
    "methods/survival",
    "methods/competing_causes",
    "methods/ratings",
    "methods/sensitivity",
    "methods/combining",
    "methods/multiplicity",
    "why_numbers_differ",
    "parity",
    "coverage",
    "data",
    "columns",
    "plans",
    "teaching",
    "decisions",
    "changelog",
    "api/index",
    "notebooks/index",
]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built pages; the build fails on its first warning."""
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(out / "trees")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [*command, str(DOCS), str(out / "html")], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out / "html"


def read(built: Path, page: str) -> str:
    return (built / f"{page}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_there_and_is_reached(built: Path, page: str) -> None:
    text = read(built, page)
    assert "<h1" in text
    if page != "index":
        parent = {"api/index": "index", "notebooks/index": "index"}.get(page, page)
        others = [p for p in built.rglob("*.html") if p != built / f"{parent}.html"]
        assert any(f"{page.rsplit('/', 1)[-1]}.html" in other.read_text(encoding="utf-8") for other in others)


def test_nothing_is_loaded_from_the_network(built: Path) -> None:
    loads = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc=["']https?:|<link[^>]*\shref=["']https?:|@import ["']https?:"""
    )
    pages = [*built.rglob("*.html"), *built.rglob("*.css")]
    assert len(pages) > len(PAGES)
    assert [str(p) for p in pages if loads.search(p.read_text(encoding="utf-8"))] == []


def test_equations_are_mathml_and_none_is_left_as_it_was_typed(built: Path) -> None:
    for page in (page for page in PAGES if page.startswith("methods/")):
        text = read(built, page)
        assert "$" not in re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL), page
        if page != "methods/index":
            assert "<math " in text, page
        # What the converter does not know it writes as it was typed.
        assert not re.findall(r"<mi>\\[a-zA-Z]+</mi>|merror", text), page


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_explained(built: Path, name: str) -> None:
    room = "plot" if name.startswith("plot.") else ist._HOME[name]
    text = read(built, f"generated/api/{room}")
    assert f'id="implstats.{name}"' in text
    value = getattr(ist.plot, name[5:]) if name.startswith("plot.") else getattr(ist, name)
    first = re.split(r"[`.?:;,|(]", (inspect.getdoc(value) or "").replace("\n", " "))[0]
    assert first
    assert html.escape(first.strip(), quote=False).replace("'", "’") in text.replace("&#39;", "’").replace("\n", " ")


def makers(name: str) -> list[str]:
    """Return the public functions that return a class and show it."""
    functions = [value for value in (getattr(ist, n) for n in ist._HOME) if inspect.isfunction(value)]
    made = [f for f in functions if inspect.signature(f).return_annotation == name]
    return [f.__name__ for f in made if ">>> " in (f.__doc__ or "")]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example(built: Path, name: str) -> None:
    value = getattr(ist.plot, name[5:]) if name.startswith("plot.") else getattr(ist, name)
    if ">>> " in (value.__doc__ or ""):
        return
    assert makers(name), f"{name} has no example, and no function that returns it has one"
    text = read(built, f"generated/api/{ist._HOME[name]}")
    assert all(f"#implstats.{maker}" in text for maker in makers(name))


def test_the_tables_are_those_of_the_records(built: Path) -> None:
    parity = read(built, "parity")
    (total,) = re.findall(r"([\d,]+) numbers</strong> are compared", parity)
    about = f"Some {round(int(total.replace(',', '')), -3):,} numbers are compared"
    assert about in (ROOT / "README.md").read_text(encoding="utf-8")
    for words in ("fixed effects standard errors and df", "coefficients and their robust covariance are those of crr"):
        assert words in parity
    coverage = read(built, "coverage")
    for study in ("20 + 20, complete", "Cox, 30 organisations, gamma frailty", "Confounded cohorts, 200"):
        assert study in coverage
    data = read(built, "data")
    for name in ist.list_examples()["name"]:
        assert f">{name}<" in data


def covered(family: str, cell: str, model: str, quantity: str) -> dict[tuple[str, str], float]:
    """Return the coverages of a quantity by (truth, method), as the simulation found them."""
    found = json.loads((ROOT / "tests" / "simulation" / f"{family}.json").read_text(encoding="utf-8"))["cells"][cell]
    return {
        (truth, method): said[quantity]["coverage"]
        for truth, part in found["truths"].items()
        for method, said in part["models"][model]["methods"].items()
        if quantity in said
    }


def test_percentages_of_the_pages_are_those_of_the_simulation() -> None:
    def said(page: str) -> str:
        return (DOCS / f"{page}.md").read_text(encoding="utf-8").replace("\n", " ")

    confounded = covered("tools_results", "Confounded cohorts, 200", "fit_mmrm", "all")
    adjusted, weighted = confounded["effect", "adjust="], confounded["effect", "weights, ate"]
    assert f"in {adjusted:.0f} % of studies, weighted ones in {weighted:.0f} %" in said("how_to/covariates_and_weights")
    straddlers = covered("tools_results", "Straddlers, 150", "fit_growth", "difference")
    wrong, *right = (value for (truth, _), value in straddlers.items() if truth == "effect")
    assert f"true difference in {wrong:.0f} % of studies" in said("how_to/change_date")
    assert all(94 < value < 96 for value in right)
    naive = covered("survival_results", "Cox, 100 organisations, positive stable frailty", "Cox", "treatment")
    assert f"held the truth in {naive['effect', 'naive']:.0f} % of studies" in said("how_to/programmes")
    unlike = covered("survival_results", "Fine-Gray, 300, censoring by group", "Fine-Gray", "treatment").values()
    assert f"held the truth in {min(unlike):.0f} to {max(unlike):.0f} % of simulated" in said(
        "methods/competing_causes"
    )


def plans(page: str) -> list[str]:
    """Return the whole plans that a page shows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [plan for plan in re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if "title =" in plan]


@pytest.mark.parametrize(
    ("page", "example", "file"),
    [("get_started.md", "reorganisation", "visits.csv"), ("how_to/many_sites.md", "multisite", "multisite.csv")],
)
def test_plans_of_the_pages_can_be_run(
    page: str, example: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plan,) = plans(page)
    (tmp_path / "plan.toml").write_text(plan, encoding="utf-8")
    ist.load_example(example).to_csv(tmp_path / file, index=False)
    assert main(["check", str(tmp_path / "plan.toml")]) == 0, capsys.readouterr().err


def test_the_picture_of_the_first_page_is_still_drawn() -> None:
    drawn: Any = runpy.run_path(str(DOCS / "pictures" / "answer.py"))["draw"]()
    texts = {text.get_text() for axes in drawn.axes for text in axes.texts}
    assert any("improvement retained" in text for text in texts)
    assert (DOCS / "pictures" / "answer.png").stat().st_size > 50_000
    assert "docs/pictures/answer.png" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_build_writes_where_git_does_not_look() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/docs/_build/", "/docs/generated/", "/docs/notebooks/"} <= set(ignored)


@pytest.mark.parametrize("file", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in DOCS.glob("how_to/*.md"))])
def test_links_to_files_of_the_project_lead_somewhere(file: str) -> None:
    here = ROOT / file
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", here.read_text(encoding="utf-8")):
        if not link.startswith(("http", "mailto:")):
            assert (here.parent / link).exists(), f"{file}: {link}"
