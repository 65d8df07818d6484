"""Values given beside the file by ``--set``."""

import pytest
import tiny_parts

from astrokeras.errors import SpecError
from astrokeras.spec import load

TEXT = """\
astrokeras: 1
vars: {data: data}
source:
  stars: {files: "{data}/a.fits", sentinels: [-99, 99]}
stages:
  - colors
  - colors: {id: again, bands: [g, r]}
  - photoz: {train: {target: z_spec, epochs: 3}, save: model}
outputs:
  - votable: {path: a.vot}
  - fits: {path: a.fits}
  - fits: {path: b.fits}
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Parts of the tests instead of those of astrokeras."""
    tiny_parts.install(monkeypatch)


@pytest.fixture
def path(tmp_path):
    """Return the file that the values are set in."""
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("given", "get", "value"),
    [
        ("name=other", lambda p: p.name, "other"),
        ("vars.data=/sky", lambda p: p.source.files, "/sky/a.fits"),
        ("source.stars.files={data}/b.fits", lambda p: p.source.files, "data/b.fits"),
        ("source.stars.files={data}", lambda p: p.source.files, "data"),
        ("source.stars.files=[a, b]", lambda p: p.source.files, ("a", "b")),
        ("source.stars.observed=2026-01-01", lambda p: p.source.observed, "2026-01-01"),
        ("source.stars.sentinels.1=1e20", lambda p: p.source.sentinels, (-99.0, 1e20)),
        ("source.stars.photometry.color=model", lambda p: p.source.photometry, {"color": "model"}),
        ("source.stars.where=a == 1", lambda p: p.source.where, "a == 1"),
        ("source={stars: {files: c.fits}}", lambda p: (p.source.files, p.source.sentinels), ("c.fits", ())),
        ("stages.colors.bands=[u, g]", lambda p: [s.bands for s in p.stages[:2]], [("u", "g"), ("g", "r")]),
        ("stages.again.bands=[u, g]", lambda p: [s.bands for s in p.stages[:2]], [(), ("u", "g")]),
        ("stages.photoz.batch=512", lambda p: p.stages[2].batch, 512),
        ("stages.photoz.train.epochs=5", lambda p: (p.stages[2].train.target, p.stages[2].train.epochs), ("z_spec", 5)),
        ("stages.photoz.train.network.layers=[8]", lambda p: getattr(p.stages[2].train.network, "layers", None), (8,)),
        ("stages.photoz.train=", lambda p: p.stages[2].train, None),
        ("stages.photoz={model: m}", lambda p: (p.stages[2].model, p.stages[2].train), ("m", None)),
        ("stages=[photoz]", lambda p: p.stage_ids(), ("photoz",)),
        ("outputs.votable.path=x.vot", lambda p: p.outputs[0].path, "x.vot"),
        ("outputs.2.path=x.fits", lambda p: [o.path for o in p.outputs], ["a.vot", "a.fits", "x.fits"]),
        ("split.test=.2", lambda p: p.split and p.split.test, 0.2),
        ("partition.rows=1e5", lambda p: p.partition and p.partition.rows, 100_000),
        ("fields=[a, b]", lambda p: p.fields and p.fields.names, ("a", "b")),
    ],
)
def test_a_value_is_replaced(path, given, get, value):
    assert get(load(path)) != value
    assert get(load(path, [given])) == value


def test_the_last_one_wins_and_they_add_up(path):
    sets = ["stages.photoz.batch=1", "stages.photoz.id=z", "stages.z.batch=2", "stages.z.grid=7"]
    stage = load(path, sets).stages[2]
    assert (stage.id, stage.batch, stage.grid) == ("z", 2, 7)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("vars", ":1:1: needs the form address=value"),
        ("=5", ":1:1: needs the form address=value"),
        ("stage.photoz.batch=5", ":1:1: no section 'stage'; did you mean 'stages'?"),
        ("astrokeras=1", ":1:1: no section 'astrokeras'"),
        ("stages.photo.batch=5", ":1:1: no stage 'photo' in the file; did you mean 'photoz'?"),
        ("stages.xyz.batch=5", ":1:1: no stage 'xyz' in the file (allowed: again, colors, photoz)"),
        ("outputs.fits.path=x", ":1:1: 2 outputs are named 'fits': say outputs.1 or outputs.2"),
        ("outputs.7.path=x", ":1:1: no output '7' in the file"),
        ("source.catalog.files=x", ":1:1: the source in the file is 'stars', not 'catalog'; replace it whole: --set"),
        ("source.stars.files.x=1", ":1:1: 'source.stars.files' is a value in the file; nothing below it can be set"),
        ("source.stars.sentinels.2=1", ":1:1: 'source.stars.sentinels' is a list of 2: '2' must be a number from 0"),
        ("stages.photoz.=1", ":1:1: a name is missing after 'stages.photoz.'"),
        ("stages.photoz.bacth=512", ":1:15: photoz.bacth: unknown parameter; did you mean 'batch'?"),
        ("stages.photoz.train={epochs: 3}", ":1:15: photoz.train.target: is required"),
        ("stages.photoz.batch=many", ":1:21: photoz.batch: needs an integer, got 'many'"),
        ("stages.colors.bands=[g, 2]", ":1:25: colors.bands[1]: needs text like the pattern"),
        ("stages.photoz.save='x", ":1:22: not valid YAML"),
        ("stages.photoz.save=*x", ":1:20: alias '*x'"),
        ("stages.photoz.save={nodata}/x", ":1:20: no variable '{nodata}'"),
        ("outputs.2.path=a.vot", ":1:16: fits.path: 'a.vot' is already written on line 10"),
    ],
)
def test_a_bad_address_or_value_names_the_argument(path, given, said):
    with pytest.raises(SpecError) as caught:
        load(path, [given])
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(f"--set {given}{said}")


def test_the_file_is_not_touched(path):
    load(path, ["stages.photoz.batch=512"])
    assert path.read_text() == TEXT


def test_a_value_may_have_several_lines(path):
    source = load(path, ["source=stars:\n  files: b.fits\n  sentinels: [1]\n"]).source
    assert (source.files, source.sentinels) == ("b.fits", (1,))
