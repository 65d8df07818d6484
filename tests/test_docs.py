"""What the README and the pages show is what astrokeras reads."""

import re
from pathlib import Path

import pytest
from astropy.table import QTable
from ruamel.yaml import YAML

from astrokeras import Pipeline
from astrokeras.errors import SpecError
from astrokeras.registry import lookup
from astrokeras.resources import pipelines_dir
from astrokeras.spec import Fields, Site, Split, load
from astrokeras.surveys import SurveyMap

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    *(
        f"docs/{name}.rst"
        for name in (
            "pipeline_file",
            "survey_maps",
            "crossmatch",
            "cutouts",
            "detection",
            "features",
            "outputs",
            "simulated_sky",
            "command_line",
            "domain",
            "evaluation",
            "neighbours",
        )
    ),
)


def code_blocks(text: str, language: str) -> list[str]:
    """Return the examples of a Markdown or reStructuredText page in one language."""
    fenced = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    return fenced + [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in indented]


EXAMPLES = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(code_blocks((ROOT / page).read_text(encoding="utf-8"), "yaml"))
]


def test_pages_have_examples():
    assert len(EXAMPLES) >= 6
    page = "```yaml\na: 1\n```\n.. code-block:: yaml\n\n   b:\n     - 2\n\nText\n"
    assert code_blocks(page, "yaml") == ["a: 1\n", "b:\n  - 2\n\n"]


@pytest.mark.parametrize("text", [e for e in EXAMPLES if e.values[0].startswith("astrokeras: 1")])
def test_pipelines_on_pages_are_read(text, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    pipeline = load(path, env={"ASTRO_DATA": "/data"})
    assert pipeline.name == "stripe82"


def test_mistakes_are_reported_as_the_page_says(tmp_path, monkeypatch):
    page = (ROOT / "docs/pipeline_file.rst").read_text(encoding="utf-8")
    good, shown = code_blocks(page, "yaml")[0], code_blocks(page, "text")[0]
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").write_text(good.replace("colors: {bands", "colors: {bnads").replace("photoz:", "photz:"))
    with pytest.raises(SpecError) as caught:
        load("pipeline.yaml", env={"ASTRO_DATA": "/data"})
    assert str(caught.value) == shown.strip()


@pytest.mark.parametrize("text", [e for e in EXAMPLES if not e.values[0].startswith("astrokeras: 1")])
def test_snippets_on_pages_are_read(text):
    # A page may show several forms of one section, one in each line.
    lines = text.split("\n") if text.startswith("fields:") else [text]
    for section in map(YAML(typ="safe").load, filter(None, lines)):
        for name, value in section.items():
            if name in Site.model_fields:
                Site.model_validate(section)
            elif name == "fields":
                Fields.model_validate({"names": value} if isinstance(value, list) else value)
            elif name == "split":
                Split.model_validate(value)
            elif name == "survey":
                SurveyMap.model_validate(value)
            else:
                parts = value if isinstance(value, list) else [value]
                kind = {"source": "sources"}.get(name, name)
                assert [lookup(kind, part).model_validate(keys) for one in parts for part, keys in one.items()]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """Make the folder that the examples in Python suppose: a model, a table with fluxes, a pipeline."""
    folder = tmp_path_factory.mktemp("workplace")
    text = (pipelines_dir() / "photoz-train.yaml").read_text(encoding="utf-8")
    path = folder / "photoz-train.yaml"
    path.write_text(text.replace("products/", f"{folder}/products/"), encoding="utf-8")
    small = ["source.synthetic.rows=600", "stages.photoz.train.epochs=1", "stages.photoz.train.members=1"]
    small.append("stages.photoz.train.cross_fit=2")
    keep = f"outputs.votable={{path: {folder}/photo.vot, columns: [ids, 'flux_*']}}"
    save = f"stages.photoz.save={folder}/models/boss-photoz"
    Pipeline.read(path, sets=[*small, save, keep]).run(work=folder / "work", quiet=True)
    QTable.read(folder / "photo.vot").write(folder / "photo.ecsv")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python.rst"])
def test_python_on_pages_runs(page, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    blocks = code_blocks((ROOT / page).read_text(encoding="utf-8"), "python")
    assert blocks
    for block in blocks:
        block = block.replace("rows=2000", "rows=600")
        exec(compile(block, page, "exec"), {})
    assert "z_phot" in capsys.readouterr().out


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", text) if not t.startswith("http")]
    assert len(targets) > 5
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_readme_commands_set_everything_up():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^<!-- ci: (\w+) -->\n```sh\n(.+)\n```$", text, re.MULTILINE)
    assert [name for name, _ in commands] == ["quickstart", "tests"]
    assert all(c.startswith("python3 -m venv .venv && .venv/bin/pip install ") for _, c in commands)
