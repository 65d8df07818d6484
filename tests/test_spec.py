"""The pipeline file: what its values become, and every mistake at its line and column."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_nodes import FRAGMENTS

from astrokeras.errors import SpecError
from astrokeras.spec import field_names, load, load_site

WHOLE = """\
astrokeras: 1
name: stripe82
vars:
  data: "${ASTRO_DATA}/dr17"
  photo: "{data}/{field}/photo.fits"
  rows: 1e6
  bands: [u, g]
fields: [001, west]
source:
  stars:
    files: "{photo}"
    center: -05:30:00
    observed: 2026-01-01
    rows: "{rows}"
    folder: 2026
    depth: 22
    sentinels: [-99, 1e20, -inf]
    photometry: {color: no, total: 012}
    clean: false
split: {test: .2, validate: 0.1, group: object_id, seed: 7}
partition: {rows: 5000}
stages:
  - colors: {bands: "{bands}"}
  - colors: {bands: "{bands}", id: again, system: Vega}
  - photoz:
      model: boss@1
      where: "p > 0.5"
      train: {target: z_spec, rate: 1e-3, network: {layers: [1e2, 3]}}
      save: "models/{field}"
outputs:
  - votable: {path: "products/{field}.vot", columns: [ids, "p_*"]}
  - fits: {path: "{here}/all{{x}}-{band}.fits"}
"""
ENV = {"ASTRO_DATA": "/sky"}

SMALL = """\
astrokeras: 1
source:
  stars: {files: a.fits}
stages:
  - colors: {bands: [g, r]}
outputs:
  - votable: {path: a.vot}
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Parts of the tests instead of those of astrokeras."""
    tiny_parts.install(monkeypatch)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a file and gives its name, relative to the current directory."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="pipeline.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


@pytest.fixture
def problems(write):
    """Return a function that gives the problems of a text as ``line:column: message``."""

    def problems(text, *sets, env=ENV):
        with pytest.raises(SpecError) as caught:
            load(write(text), sets, env)
        return [str(p).removeprefix("pipeline.yaml:") for p in caught.value.problems]

    return problems


def test_values_arrive_as_an_astronomer_means_them(write):
    source = load(write(WHOLE), env=ENV).source
    assert source.files == "/sky/dr17/001/photo.fits"
    assert source.center == "-05:30:00"
    assert source.observed == "2026-01-01"
    assert source.folder == Path("2026")
    assert (source.rows, source.depth, source.clean) == (1_000_000, 22.0, False)
    assert source.sentinels == (-99.0, 1e20, float("-inf"))
    assert source.photometry == {"color": "no", "total": "012"}


def test_sections_and_parts(write):
    pipeline = load(write(WHOLE, "sub/whole.yaml"), env=ENV)
    assert (pipeline.name, pipeline.file, pipeline.here) == ("stripe82", "sub/whole.yaml", "sub")
    assert pipeline.split.fractions == {"test": 0.2, "validate": 0.1, "calibrate": 0.0}
    assert (pipeline.split.group, pipeline.split.seed) == ("object_id", 7)
    assert pipeline.partition.rows == 5000
    assert pipeline.stage_ids() == ("colors", "again", "photoz")
    assert [type(stage).__name__ for stage in pipeline.stages] == ["Colors", "Colors", "PhotoZ"]
    assert pipeline.stages[0].bands == ("u", "g")
    assert pipeline.stages[2].train.rate == 0.001
    assert pipeline.stages[2].train.network.layers == (100, 3)
    assert pipeline.outputs[0].columns == ("ids", "p_*")
    assert pipeline.outputs[1].path == "sub/all{x}-{band}.fits"


def test_fields_expand_one_by_one(write):
    pipeline = load(write(WHOLE), env=ENV)
    assert field_names(pipeline) == ("001", "west")
    west = pipeline.for_field("west")
    assert west.field == "west"
    assert west.source.files == "/sky/dr17/west/photo.fits"
    assert west.outputs[0].path == "products/west.vot"
    assert west.stages[2].save == "models/west"
    assert west.stages[:2] == pipeline.stages[:2]
    assert west.stages[0] is pipeline.for_field("001").stages[0]
    assert pipeline.per_field(("outputs", 0, "path"))
    assert not pipeline.per_field(("outputs", 1, "path"))
    assert pipeline.per_field(("stages", 2, "save"))
    assert not pipeline.per_field(("stages", 2, "train"))
    assert pipeline.per_field(("source",))
    assert not pipeline.per_field(("outputs", 7, "path"))


def test_without_fields_there_is_one_bound(write):
    pipeline = load(write(SMALL))
    assert field_names(pipeline) == ()
    bound = pipeline.for_field()
    assert (bound.field, bound.source, bound.stages) == (None, pipeline.source, pipeline.stages)
    assert (pipeline.name, pipeline.split, pipeline.partition, pipeline.here) == ("pipeline", None, None, ".")
    with pytest.raises(ValueError, match="no fan-out"):
        pipeline.for_field("west")


def test_a_field_that_does_not_fit(write):
    text = SMALL.replace("stars: {files: a.fits}", 'stars: {files: a.fits, rows: "{field}"}')
    pipeline = load(write("fields: [1, two]\n" + text))
    assert pipeline.for_field("1").source.rows == 1
    with pytest.raises(SpecError, match=r"4:32: stars.rows: needs an integer, got 'two' \(field 'two'\)"):
        pipeline.for_field("two")


def test_braces_of_a_field_and_of_the_environment_are_literal(write):
    text = SMALL.replace("a.fits", '"${X}/{field}"').replace("a.vot", '"{field}.vot"')
    pipeline = load(write('fields: ["{{x}}"]\n' + text), env={"X": "{data}"})
    assert pipeline.for_field("{x}").source.files == "{data}/{x}"


def test_alone_a_name_keeps_its_type_and_its_text(write):
    text = "vars: {a: 012, b: [1, 2], c: '7', d: 1e3}\n" + SMALL
    parameters = '{files: "{a}", sentinels: "{b}", center: "{d}", depth: "{d}", rows: "${N}"}'
    text = text.replace("{files: a.fits}", parameters)
    source = load(write(text), env={"N": "20"}).source
    assert (source.files, source.sentinels, source.rows) == ("012", (1.0, 2.0), 20)
    assert (source.center, source.depth) == ("1e3", 1000.0)


def test_quoted_numbers_are_text(problems):
    assert problems(SMALL.replace("{files: a.fits}", "{files: a.fits, rows: '12'}")) == [
        "3:32: stars.rows: needs an integer, got '12'"
    ]


def test_parts_may_be_named_alone(write):
    text = SMALL.replace("- colors: {bands: [g, r]}", "- colors\n  - photoz:")
    assert load(write(text)).stages == (tiny_parts.Colors(), tiny_parts.PhotoZ())


def test_the_digest_is_that_of_the_content(write):
    digest = load(write(SMALL)).digest
    same = "# why\n\n" + SMALL.replace("{files: a.fits}", "\n    files: 'a.fits'  # the catalog")
    swapped = SMALL.replace("astrokeras: 1\n", "") + "astrokeras: 1\n"
    assert load(write(same, "other.yaml")).digest == digest
    assert load(write(swapped)).digest == digest
    assert load(write(SMALL.replace("g, r", "r, g"))).digest != digest
    assert load(write(SMALL), ["stages.colors.bands=[g, i]"]).digest != digest
    assert load(write(WHOLE), env=ENV).digest == load(write(WHOLE), env={"ASTRO_DATA": "/other"}).digest


def test_a_pipeline_pickles(write):
    pipeline = load(write(WHOLE), env=ENV)
    again = pickle.loads(pickle.dumps(pipeline))
    assert again == pipeline
    assert again.for_field("west") == pipeline.for_field("west")


def test_problems_of_others_find_their_place(write):
    pipeline = load(write(WHOLE), ["stages.photoz.batch=512"], ENV)
    at = {
        ("stages", 2): "pipeline.yaml:25:5",
        ("stages", 2, "where"): "pipeline.yaml:27:14",
        ("stages", 2, "train", "rate"): "pipeline.yaml:28:37",
        ("stages", 2, "train", "epochs"): "pipeline.yaml:28:7",
        ("stages", 2, "batch"): "--set stages.photoz.batch=512:1:21",
        ("stages", 9): "pipeline.yaml:22:1",
        ("outputs", 0, "columns", 1): "pipeline.yaml:31:60",
        ("source",): "pipeline.yaml:10:3",
        ("source", "files"): "pipeline.yaml:11:12",
        ("split", "group"): "pipeline.yaml:20:41",
        ("fields",): "pipeline.yaml:8:1",
        ("nowhere",): "pipeline.yaml:1:1",
    }
    assert {address: str(pipeline.problem(address, "x")).removesuffix(": x") for address in at} == at


def test_all_problems_at_once(problems):
    text = """\
astrokeras: 1
stagse: []
source:
  stars: {rows: many, where: "((a)", depth: deep}
stages:
  - colors: {bands: [g], bnads: [r]}
  - colours:
outputs:
  - votable: {path: a.vot, columns: ra}
"""
    assert problems(text) == [
        "2:1: unknown section 'stagse'; did you mean 'stages'?",
        "4:3: stars.files: is required",
        "4:17: stars.rows: needs an integer, got 'many'",
        "4:30: stars: where: unbalanced parentheses in '((a)'",
        "4:45: stars.depth: needs a number, got 'deep'",
        "6:26: colors.bnads: unknown parameter; did you mean 'bands'?",
        "7:5: no stage named 'colours'; did you mean 'colors'?",
        "9:37: votable.columns: needs a list, got 'ra'",
    ]


# What is written instead of the stage on line 5; § marks where the problem is.
STAGE_MISTAKES = [
    (
        "photoz: {batch: §012}",
        "photoz.batch: needs an integer, got '012'; a leading zero means octal to some: write 12",
    ),
    ("photoz: {batch: §1.5}", "photoz.batch: needs an integer, got 1.5"),
    ("photoz: {§batch: {n}}", "photoz.batch: needs an integer, got a mapping {n}; a name in braces needs quotes"),
    ("photoz: {§batch: }", "photoz.batch: needs an integer, got nothing"),
    ("photoz: {batch: §null}", "photoz.batch: needs an integer, got 'null'"),
    ("photoz: {checkpoint: §yes}", "photoz.checkpoint: needs true or false, got 'yes'"),
    ("photoz: {checkpoint: §1}", "photoz.checkpoint: needs true or false, got 1"),
    ("photoz: {grid: §x}", "photoz.grid: needs an integer or 'auto', got 'x'"),
    ("photoz: {grid: §1}", "photoz.grid: needs a value of at least 2, got 1"),
    ("photoz: {§model: [a]}", "photoz.model: needs text, got a list of 1"),
    ("photoz: {train: §5}", "photoz.train: needs a mapping {name: value}, got 5"),
    ("photoz: {train: {target: §u}}", "photoz.train.target: needs a column of truth, got 'u'"),
    ("photoz: {§train: {epochs: 3}}", "photoz.train.target: is required"),
    ("photoz: {train: {target: z_spec, epochs: §0}}", "photoz.train.epochs: needs a value of at least 1, got 0"),
    ("photoz: {train: {target: z_spec, rate: §-1}}", "photoz.train.rate: needs a value greater than 0, got -1"),
    (
        "photoz: {train: {target: z_spec, network: {§layer: [1]}}}",
        "photoz.train.network.layer: unknown parameter; did you mean 'layers'?",
    ),
    (
        "photoz: {train: {target: z_spec, network: {layers: [1, §x]}}}",
        "photoz.train.network.layers[1]: needs an integer, got 'x'",
    ),
    (
        "photoz: {train: {target: z_spec, network: §tiny}}",
        "photoz.train.network: needs a mapping {name: value} or 'small' or 'large', got 'tiny'",
    ),
    ("colors: {bands: [g, §2]}", "colors.bands[1]: needs text like the pattern ^[A-Za-z][A-Za-z0-9]*$, got 2"),
    ("colors: {system: §ab}", "colors.system: needs 'AB' or 'Vega', got 'ab'; did you mean 'AB'?"),
    ("colors: {§size: 5}", "colors.size: unknown parameter (allowed: bands, checkpoint, id, system, where)"),
    ("colors: §[g, r]", "colors: needs a mapping {name: value}, got a list of 2"),
    ("colors: §5", "colors: needs a mapping {name: value}, got 5"),
    ("§colors: {id: a.b}", "colors: id 'a.b' needs letters, digits, '_' and '-'"),
    (
        "§{colors: , photoz: }",
        "needs one 'stage: {parameters}', got colors, photoz; indent parameters further than the name",
    ),
    ("§[colors]", "needs one 'stage: {parameters}', got nothing"),
    ("colors: {§bands: {bandz}}", "colors.bands: needs a list, got a mapping {bandz}; a name in braces needs quotes"),
    ("colors: {bands: [§'{heer}']}", "no variable '{heer}'; did you mean 'here'?"),
    ("colors: {where: §'{field}'}", "'{field}' has no meaning here"),
    ("colors: {where: §'a } b'}", "a lone '}'; write '}}'"),
    ("colors: {where: §'a{}'}", "no variable '{}'"),
    ("colors: {where: §'a{'}", "a lone '{'; write '{{'"),
    ("photoz: {model: §'${NO_SUCH}/x'}", "environment variable 'NO_SUCH' is not set"),
    ("colors: {bands: §'${NO_SUCH}'}", "environment variable 'NO_SUCH' is not set"),
]


@pytest.mark.parametrize(("written", "said"), STAGE_MISTAKES)
def test_mistakes_in_a_stage(problems, written, said):
    found = problems(SMALL.replace("colors: {bands: [g, r]}", written.replace("§", "")))
    assert len(found) == 1
    assert found[0].startswith(f"5:{5 + written.index('§')}: {said}")


SOURCE_MISTAKES = [
    ("files: [a, {path: b, split: §tset}]", "stars.files[1].split: needs 'train' or 'test', got 'tset'"),
    ("files: [a, §{split: test}]", "stars.files[1].path: is required"),
    ("files: [a, {path: b, §spilt: test}]", "stars.files[1].spilt: unknown parameter; did you mean 'split'?"),
    ("files: [a, §[b]]", "stars.files[1]: needs text or a mapping {name: value}, got a list of 1"),
    ("§files: {path: a}", "stars.files: needs text or a list, got a mapping {path}"),
    ("files: §", "stars.files: needs text or a list, got nothing"),
    ("files: a, depth: §2022-01-01", "stars.depth: needs a number, got '2022-01-01'"),
    ("files: a, depth: §12:30:45", "stars.depth: needs a number, got '12:30:45'"),
    ("files: a, sentinels: [1, §x]", "stars.sentinels[1]: needs a number, got 'x'"),
    ("files: a, sentinels: [1, §1e999]", "stars.sentinels[1]: needs a number, got '1e999'"),
    ("files: a, photometry: {§color: [x]}", "stars.photometry.color: needs text, got a list of 1"),
    ("files: a, rows: §1e-1", "stars.rows: needs an integer, got 1e-1"),
    ("files: a, rows: §-1", "stars.rows: needs a value of at least 1, got -1"),
]


@pytest.mark.parametrize(("written", "said"), SOURCE_MISTAKES)
def test_mistakes_in_the_source(problems, written, said):
    found = problems(SMALL.replace("files: a.fits", written.replace("§", "")))
    # Nothing at all is reported at its key.
    column = 11 + written.index("§") if not written.endswith("§") else 11
    assert len(found) == 1
    assert found[0].startswith(f"3:{column}: {said}")


def test_an_error_of_ours_is_reported_at_the_part(problems):
    found = problems(SMALL.replace("files: a.fits", "files: a.fits, survey: sds"))
    assert found == ["3:3: stars: no survey named 'sds'; did you mean 'sdss'?"]


# What is put in below line 1; § marks where the problem is.
SECTION_MISTAKES = [
    ("name: §a b", "name: needs one word"),
    ("name: §../x", "name: needs one word"),
    ("name: §[x]", "name: needs one word"),
    ("vars: §5", "vars: needs a mapping"),
    ("vars: {§field: 5}", "vars: 'field' has a meaning of its own"),
    ("vars: {§a b: 5}", "vars: 'a b' is no name"),
    ('vars: {a: §"{b}", b: 1}', "no variable '{b}' (allowed: "),
    ('vars: {a: [1], b: §"{a}x"}', "'{a}' is a list, which can only stand alone"),
    ("split: {§tset: .1}", "split.tset: unknown parameter; did you mean 'test'?"),
    ("§split: {test: .5, validate: .5}", "split: test + validate + calibrate = 1 leaves nothing for training"),
    ("split: {test: §half}", "split.test: needs a number, got 'half'"),
    ("partition: {rows: §0}", "partition.rows: needs a value greater than 0, got 0"),
    ("fields: §5", "fields: needs a list of names, {glob: pattern}"),
    ("fields: §[]", "fields.names: needs at least 1 entries, got a list of 0"),
    ("§fields: [a, a]", "fields: field 'a' is listed twice"),
    ("fields: [a, §' ']", "fields.names[1]: a name of a field is empty"),
    ("fields: [a, §..]", "fields.names[1]: '..' cannot name a field"),
    ("fields: [a, §b/c]", "fields.names[1]: 'b/c' cannot name a field"),
    ("§fields: {glob: a, table: {path: b}}", "fields: needs a list of names, or one of 'glob' and 'table'"),
    ("fields: [§'{field}']", "'{field}' has no meaning here"),
    ("§flieds: [a]", "unknown section 'flieds'; did you mean 'fields'?"),
    ("§executor: dask", "unknown section 'executor'"),
]


@pytest.mark.parametrize(("written", "said"), SECTION_MISTAKES)
def test_mistakes_in_sections(problems, written, said):
    found = problems(SMALL.replace("source:", f"{written.replace('§', '')}\nsource:"))
    assert len(found) == 1
    assert found[0].startswith(f"2:{1 + written.index('§')}: {said}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("astrokeras: 1\n", "", "1:1: the format is missing: the file needs a line 'astrokeras: 1'"),
        ("astrokeras: 1", "astrokeras: 2", "1:13: astrokeras: this version reads format 1 only"),
        ("astrokeras: 1", "astrokeras: true", "1:13: astrokeras: this version reads format 1 only"),
        ("source:\n  stars: {files: a.fits}\n", "", "1:1: 'source' is required: {name: parameters} (allowed: stars)"),
        ("stars: {files: a.fits}", "{stars: , moons: 1}", "3:3: needs one 'source: {parameters}', got stars, moons"),
        ("stars:", "star:", "3:3: no source named 'star'; did you mean 'stars'?"),
        ("  - colors: {bands: [g, r]}", "  colors:", "5:3: stages: needs a list of '- name: {parameters}'"),
        ("- votable: {path: a.vot}", "- votable", "7:5: votable.path: is required"),
        ("- votable: {path: a.vot}", "- votabel", "7:5: no output named 'votabel'; did you mean 'votable'?"),
        ("outputs:\n  - votable: {path: a.vot}\n", "", "1:1: the pipeline makes nothing"),
        (
            "- votable: {path: a.vot}",
            "- votable: {path: a.vot}\n  - fits: {path: ./a.vot}",
            "8:18: fits.path: './a.vot' is already written on line 7",
        ),
        (
            "- colors: {bands: [g, r]}",
            "- colors\n  - colors",
            "6:5: colors: is the second of that name; give it an 'id:', because there is 'colors' already on line 5",
        ),
        (
            "- colors: {bands: [g, r]}",
            "- colors: {id: x}\n  - photoz: {id: x}",
            "6:5: photoz: has the id 'x' already on line 5",
        ),
        (
            "- colors: {bands: [g, r]}",
            "- photoz: {save: m}\n  - photoz: {id: x, save: m/}",
            "6:27: photoz.save: 'm/' is already written on line 5",
        ),
    ],
)
def test_mistakes_in_the_whole(problems, old, new, said):
    assert SMALL.count(old) == 1
    found = problems(SMALL.replace(old, new))
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_part_that_cannot_be_imported(problems, monkeypatch):
    stages = {"colors": "tiny_parts_absent:Colors"}
    tiny_parts.install(monkeypatch, stages=stages)
    assert problems(SMALL) == ["5:5: stage 'colors' cannot be imported: No module named 'tiny_parts_absent'"]
    tiny_parts.install(monkeypatch, stages={"colors": "tiny_parts:Colours"})
    assert "cannot be imported: module 'tiny_parts' has no attribute 'Colours'" in problems(SMALL)[0]
    tiny_parts.install(monkeypatch, stages={"colors": "tiny_parts:install"})
    assert "5:5: stage 'colors' is no class of parameters" in problems(SMALL)[0]


def test_a_file_that_is_no_pipeline(write):
    for text, said in [("[a]\n", "needs a mapping"), ("text\n", "needs a mapping"), ("", "the file is empty")]:
        with pytest.raises(SpecError, match=f"1:1: {said}"):
            load(write(text))
    with pytest.raises(SpecError, match=r"absent.yaml:1:1: cannot be read: no such file"):
        load("absent.yaml")


def test_duplicate_keys_and_other_problems_together(problems):
    found = problems(SMALL + "  - fits: {path: b, path: c, pth: d}\n")
    assert found == [
        "8:21: key 'path' was given before, on line 8",
        "8:30: fits.pth: unknown parameter; did you mean 'path'?",
    ]


def test_site(write):
    site = load_site(write("executor: processes\nworkers: 4\n", "site.yaml"))
    assert (site.executor, site.workers, site.threads_per_worker) == ("processes", 4, 1)
    assert load_site(write("workers: '${N}'\n", "site.yaml"), {"N": "3"}).workers == 3
    with pytest.raises(SpecError) as caught:
        load_site(write("executor: slrum\nwrokers: 4\n", "site.yaml"))
    assert [str(p).removeprefix("site.yaml:") for p in caught.value.problems] == [
        "1:11: site.executor: needs 'serial' or 'processes', got 'slrum'",
        "2:1: site.wrokers: unknown parameter; did you mean 'workers'?",
    ]


def test_loading_stays_light():
    code = (
        "import sys; from astrokeras.spec import load; from astrokeras.spec.reader import registry\n"
        "heavy = {'tensorflow', 'keras', 'dask', 'photutils', 'pandas', 'astropy', 'pyarrow', 'numpy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _loaded(path, text, sets=()):
    """Pipeline or problems; anything else fails the test."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        return load(path, sets, ENV)
    except SpecError as error:
        assert error.problems
        assert all(p.line >= 1 and p.column >= 1 and p.message for p in error.problems)
        return error.problems


_no_reset = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_no_reset
@given(st.data())
def test_any_text_gives_a_pipeline_or_problems(tmp_path, data):
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(st.sampled_from(FRAGMENTS)) + text[start + cut :]
    _loaded(tmp_path / "any.yaml", text)


@_no_reset
@given(st.lists(st.sampled_from([*re.split(r"(\W)", WHOLE), *FRAGMENTS]), max_size=8).map("".join))
def test_any_set_gives_a_pipeline_or_problems(tmp_path, text):
    _loaded(tmp_path / "any.yaml", WHOLE, [text, f"stages.photoz.{text}", f"source={text}"])


@_no_reset
@given(st.data())
def test_a_misspelt_key_is_found_where_it_stands(tmp_path, data):
    keys = [m for m in re.finditer(r"(?<=[{ ])[a-z]+(?=:)", WHOLE) if m.start() > WHOLE.index("fields")]
    # Photometry takes any name.
    keys = [m for m in keys if m[0] not in ("color", "total")]
    key = data.draw(st.sampled_from(keys))
    text = WHOLE[: key.end()] + "q" + WHOLE[key.end() :]
    line, column = text[: key.start()].count("\n") + 1, key.start() - text.rfind("\n", 0, key.start())
    lines = text.splitlines(keepends=True)
    above = data.draw(st.integers(0, 3))
    lines.insert(data.draw(st.integers(0, 2)), "# a comment\n" * above)
    found = _loaded(tmp_path / "any.yaml", "".join(lines))
    assert isinstance(found, tuple)
    assert any((p.line, p.column) == (line + above, column) and key[0] + "q" in p.message for p in found), found
