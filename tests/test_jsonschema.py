"""JSON schema of the pipeline file."""

import copy

import jsonschema
import pytest
import tiny_parts

from astrokeras import registry
from astrokeras.resources import pipelines_dir
from astrokeras.spec.jsonschema import parameters, schema
from astrokeras.spec.nodes import parse_yaml, plain, read_yaml

EXAMPLE = """
astrokeras: 1
name: stripe82
vars: {data: "${ASTRO_DATA}/dr17", n: 100}
fields: {glob: "{data}/*/"}
source:
  stars: {files: "{data}/{field}.fits", rows: "{n}", observed: 2026-01-01, depth: 1e1, sentinels: [-99, "{n}"]}
split: {test: 0.2, validate: .1, group: object_id}
stages:
  - colors:
  - colors: {id: 2nd, bands: [g, r]}
  - photoz: {train: {target: z_spec, epochs: 5, network: {layers: [64]}}, save: out, checkpoint: true}
  - photoz
outputs:
  - votable: {path: "products/{field}.vot", columns: [ids, "z_*"]}
"""


@pytest.fixture
def tiny(monkeypatch):
    """Parts of the tests instead of those of astrokeras."""
    tiny_parts.install(monkeypatch)


@pytest.fixture
def validator(tiny):
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def data(text):
    problems = []
    value = plain(parse_yaml(text, "f.yaml", problems))
    assert not problems
    return value


def test_an_example_is_valid(validator):
    validator.validate(data(EXAMPLE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: stripe82", "nmae: stripe82"),
        ("files:", "flies:"),
        ("- photoz\n", "- photo\n"),
        ("- colors: {id: 2nd, bands", "- colours: {id: 2nd, bands"),
        ("epochs: 5", "epoch: 5"),
        ("epochs: 5", "epochs: many"),
        ("epochs: 5", "epochs: 0"),
        ("checkpoint: true", "checkpoint: yes"),
        ("group: object_id", "groups: object_id"),
        ("layers: [64]", "layers: 64"),
        ("glob:", "globs:"),
        ("path: ", "file: "),
        ("astrokeras: 1", "astrokeras: 2"),
        ("bands: [g, r]", "bands: [g, 1r]"),
    ],
)
def test_a_mistake_is_invalid(validator, old, new):
    assert EXAMPLE.count(old) == 1
    assert not validator.is_valid(data(EXAMPLE.replace(old, new)))


def test_parameters_carry_the_words_of_the_docstring(tiny):
    defs = schema()["$defs"]
    assert defs["sources.stars"]["properties"]["depth"]["description"] == "Limit in magnitudes."
    assert defs["stages.photoz.Recipe"]["properties"]["epochs"]["description"] == "Passes over the data."
    assert defs["stages.photoz"]["description"] == "Redshifts."
    assert "calibration" not in defs
    assert defs["Split"]["properties"]["validate"]["description"].startswith("Fractions in [0, 1)")


def test_the_schema_of_a_part_is_that_of_its_class(tiny):
    properties = schema()["$defs"]["sources.stars"]["properties"]
    assert set(properties) == set(tiny_parts.Stars.model_fields)
    assert properties["rows"]["default"] == 10
    assert {"minimum": 1, "type": "integer"} in properties["rows"]["anyOf"]


def test_making_the_schema_changes_no_class(tiny):
    before = copy.deepcopy(tiny_parts.PhotoZ.model_json_schema())
    assert schema() == schema()
    assert tiny_parts.PhotoZ.model_json_schema() == before


def test_a_broken_plug_in_leaves_the_others_alone(monkeypatch):
    tiny_parts.install(monkeypatch, stages={**tiny_parts.BUILTIN["stages"], "broken": "tiny_parts_absent:Broken"})
    made = schema()
    entry = made["properties"]["stages"]["items"]["anyOf"][0]["properties"]
    assert "tiny_parts_absent" in entry["broken"]["description"]
    assert "stages.photoz" in made["$defs"]


def test_parameters_of_a_numpydoc_text():
    doc = """Summary: with a colon.

Parameters
----------
mean, sigma : float
    Of the noise,
    in counts.
seed
    Of the noise.

Notes
-----
gain : not a parameter
    At all.
"""
    assert parameters(doc) == {
        "mean": "Of the noise, in counts.",
        "sigma": "Of the noise, in counts.",
        "seed": "Of the noise.",
    }


@pytest.mark.parametrize("path", sorted(pipelines_dir().glob("*.yaml")), ids=lambda path: path.name)
def test_our_pipelines_are_valid(path):
    registry.names.cache_clear()
    problems = []
    node = read_yaml(path, problems)
    assert not problems
    jsonschema.Draft202012Validator(schema()).validate(plain(node))
