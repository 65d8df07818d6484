"""What the README and the pages show is what astrokeras reads."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from astrokeras.spec import Fields, Site, Split, load
from astrokeras.surveys import SurveyMap

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/pipeline_file.rst", "docs/survey_maps.rst", "docs/command_line.rst")


def yaml_blocks(text: str) -> list[str]:
    """Return the YAML examples of a Markdown or reStructuredText page."""
    fenced = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    return fenced + [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in indented]


EXAMPLES = [
    pytest.param(block, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(yaml_blocks((ROOT / page).read_text(encoding="utf-8")))
]


def test_pages_have_examples():
    assert len(EXAMPLES) >= 6
    assert yaml_blocks("```yaml\na: 1\n```\n.. code-block:: yaml\n\n   b:\n     - 2\n\nText\n") == [
        "a: 1\n",
        "b:\n  - 2\n\n",
    ]


@pytest.mark.parametrize("text", [e for e in EXAMPLES if e.values[0].startswith("astrokeras: 1")])
def test_pipelines_on_pages_are_read(text, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    pipeline = load(path, env={"ASTRO_DATA": "/data"})
    assert pipeline.name == "stripe82"


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
                assert name == "source" and value["catalog"]["survey"] == "sdss-casjobs"


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
