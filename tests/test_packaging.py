"""The examples come along: from a wheel, from a wheel made of the sdist, and from a checkout or editable install."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ASK = """
import json, sys
import implstats
from implstats.examples import example_files
visits = implstats.load_example("reorganisation")
print(json.dumps([implstats.__file__, str(example_files("reorganisation")[0]), list(visits.shape)]))
"""


def build(source, out, target):
    """Build without isolation, so that nothing is downloaded."""
    code = "import sys; from hatchling import build; print(getattr(build, 'build_' + sys.argv[1])(sys.argv[2]))"
    done = subprocess.run([sys.executable, "-c", code, target, str(out)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def ask(path, cwd):
    """Load the example in a fresh process that sees only `path` before the installed packages."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(path)}
    done = subprocess.run([sys.executable, "-c", ASK], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    module, table, shape = json.loads(done.stdout)
    assert shape == [388, 11]
    return Path(module).resolve(), Path(table).resolve()


def project_files():
    pytest.importorskip("hatchling")
    needed = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    missing = [file.name for file in needed if not file.is_file()]
    if missing:
        pytest.skip(f"cannot build without {', '.join(missing)}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    project_files()
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    project_files()
    return build(ROOT, tmp_path_factory.mktemp("sdist"), "sdist")


def unpacked(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_wheel_brings_the_examples(wheel, tmp_path):
    site = unpacked(wheel, tmp_path / "site")
    module, table = ask(site, tmp_path)
    assert module == (site / "implstats" / "__init__.py").resolve()
    assert table == (site / "implstats" / "_examples" / "reorganisation.csv").resolve()
    assert (site / "implstats" / "py.typed").is_file()


def test_wheel_holds_each_table_once(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = [Path(name).name for name in archive.namelist() if name.endswith(".csv")]
    assert sorted(held) == sorted(file.name for file in (ROOT / "data" / "examples").glob("*.csv"))


def test_sdist_brings_the_examples(sdist, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("implstats-*"))
    assert ask(source / "src", tmp_path)[1] == (source / "data" / "examples" / "reorganisation.csv").resolve()
    (tmp_path / "dist").mkdir()
    site = unpacked(build(source, tmp_path / "dist", "wheel"), tmp_path / "site")
    assert ask(site, tmp_path)[1].parent.name == "_examples"


def test_checkout_reads_the_one_copy(tmp_path):
    module, table = ask(ROOT / "src", tmp_path)
    assert module == ROOT / "src" / "implstats" / "__init__.py"
    assert table == ROOT / "data" / "examples" / "reorganisation.csv"


def test_editable_install_reads_the_one_copy(tmp_path):
    """A path file in site-packages, and whatever the build backend puts beside it."""
    site = tmp_path / "site"
    site.mkdir()
    try:
        import editables  # noqa: F401
    except ModuleNotFoundError:
        (site / "_implstats.pth").write_text(str(ROOT / "src"))
    else:
        project_files()
        unpacked(build(ROOT, tmp_path, "editable"), site)
    pointed = next(site.glob("*.pth")).read_text().strip()
    module, table = ask(os.pathsep.join([str(site), pointed]), tmp_path)
    assert module == ROOT / "src" / "implstats" / "__init__.py"
    assert table == ROOT / "data" / "examples" / "reorganisation.csv"


def test_no_second_copy_in_the_source():
    assert not list((ROOT / "src").rglob("*.csv"))
