"""Pipelines and survey maps are found in an editable install and in a wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from astrokeras import resources
from astrokeras.errors import AstrokerasError

ROOT = Path(__file__).resolve().parents[1]


def test_found_beside_the_package():
    assert resources.pipelines_dir().samefile(ROOT / "pipelines")
    assert resources.catalogs_dir().samefile(ROOT / "catalogs")
    assert (resources.pipelines_dir() / "quickstart.yaml").is_file()
    assert (resources.catalogs_dir() / "sdss-casjobs.yaml").is_file()


def test_a_stranger_beside_the_package_is_not_ours(tmp_path, monkeypatch):
    package = tmp_path / "astrokeras"
    (tmp_path / "catalogs").mkdir()
    monkeypatch.setattr(resources, "PACKAGE", package)
    with pytest.raises(AstrokerasError, match=r"'catalogs' of astrokeras was found neither at .* nor at"):
        resources.catalogs_dir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    with pytest.raises(AstrokerasError, match="install astrokeras again"):
        resources.catalogs_dir()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'astrokeras'\n")
    assert resources.catalogs_dir() == tmp_path / "catalogs"
    (package / "catalogs").mkdir(parents=True)
    assert resources.catalogs_dir() == package / "catalogs"


WHERE = r"""
import site, sys
site.addsitedir(sys.argv[1])
from astrokeras.resources import catalogs_dir, pipelines_dir
print(catalogs_dir(), pipelines_dir(), sep="\n")
"""


def install(build: str, into: Path) -> list[str]:
    """Build a wheel with a hook of PEP 517 or PEP 660 and unpack it; return the names in it."""
    code = f"import hatchling.build, sys; hatchling.build.{build}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(into)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = into.glob("astrokeras-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
        return archive.namelist()


def found_from(site: Path, **environment) -> list[Path]:
    """Ask a new process, outside the repository, that knows the site folder."""
    command = [sys.executable, "-c", WHERE, str(site)]
    # Without PYTHONPATH, and without coverage: it would count the copy in the wheel as code that no test runs.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "COVERAGE_"))}
    env |= environment
    ran = subprocess.run(command, cwd=site, env=env, check=True, capture_output=True, text=True)
    return [Path(line) for line in ran.stdout.splitlines()]


@pytest.mark.slow
def test_found_in_a_wheel(tmp_path):
    names = install("build_wheel", tmp_path)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"astrokeras", "rail"}
    # An __init__.py in rail/ would hide all other packages of RAIL.
    assert {name for name in names if name.startswith("rail/")} == {
        "rail/astrokeras/__init__.py",
        "rail/estimation/algos/astrokeras.py",
    }
    # PYTHONPATH comes before an editable install in the Python that runs the tests.
    found = found_from(tmp_path, PYTHONPATH=str(tmp_path))
    assert found == [tmp_path / "astrokeras" / "catalogs", tmp_path / "astrokeras" / "pipelines"]
    for folder in found:
        shipped = {path.relative_to(folder) for path in folder.rglob("*.yaml")}
        assert shipped
        assert shipped == {path.relative_to(ROOT / folder.name) for path in (ROOT / folder.name).rglob("*.yaml")}


@pytest.mark.slow
def test_found_in_an_editable_install(tmp_path):
    names = install("build_editable", tmp_path)
    assert not [name for name in names if name.endswith(".yaml")], "copies would go stale"
    assert found_from(tmp_path) == [ROOT / "catalogs", ROOT / "pipelines"]
