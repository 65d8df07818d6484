"""The report page: which rows it shows, its numbers, its pictures, and how a browser sees it."""

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import scenes
from astropy.table import QTable
from astropy.units import Quantity
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from test_evaluate_classes import FIELDS, evaluate, make_chunk

from astrokeras.errors import ChunkError
from astrokeras.export.picks import lots, merged, pick
from astrokeras.export.report import Report
from astrokeras.export.report_field import field_picture
from astrokeras.export.stamp_pictures import colours, noise, png
from astrokeras.fields import FLAGS, Field
from astrokeras.stage import Product

STAMP = Field(name="stamp", unit="nJy", shape=(16, 16, 3), meta={"bands": "g,r,i"})
ENTROPY = Field(name="class_entropy")
SCORE = Field(name="domain_score")


def with_stamps(chunk, seed=3):
    rng = np.random.default_rng(seed)
    n = len(chunk)
    y, x = np.mgrid[:16, :16] - 7.5
    blob = 80 * np.exp(-(x**2 + y**2) / 8)
    # Red objects: brightest in the last band.
    stamps = rng.normal(0, 1, (n, 16, 16, 3)) + blob[None, :, :, None] * np.array([0.3, 0.6, 1.0])
    chunk["stamp"] = Quantity(stamps, "nJy", dtype="f4")
    p = np.stack([chunk[name] for name in ("p_galaxy", "p_qso", "p_star")], axis=1)
    chunk["class_entropy"] = -(p * np.log(p)).sum(axis=1).astype("f4")
    chunk["domain_score"] = rng.random(n).astype("f4")
    chunk["ra"], chunk["dec"] = rng.uniform(149, 151, n), rng.uniform(1, 3, n)
    chunk["flags"] = np.zeros(n, np.int32)
    return chunk


ALL = (*FIELDS, ENTROPY, SCORE, STAMP, Field(name="ra", kind="f8"), Field(name="dec", kind="f8"), FLAGS)
PROVENANCE = {"pipeline": "a <field> & more", "flags": {"OUT_OF_DOMAIN": 7}, "warnings": ["take care"]}


def make_report(tmp_path, chunks, available=ALL, name="report.html", **parameters):
    path = tmp_path / name
    output = Report(path=str(path), **parameters)
    fields = output.reads(available)
    pieces = []
    for k, chunk in enumerate(chunks):
        piece = tmp_path / f"{name}-pieces" / str(k)
        facts = output.write(chunk[[f.name for f in fields]], fields, piece)
        pieces.append((piece, json.loads(json.dumps(facts))))
    output.close(pieces, Product(path, fields, PROVENANCE))
    return path


class Page(HTMLParser):
    """Images, and the text of cells and captions, of a page."""

    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.scripts, self.words = [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes)
        self.scripts += tag == "script"
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]

    def handle_data(self, data):
        self.words.append(data.strip())


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=40, unique=True), st.integers(1, 12), st.data())
def test_picks_do_not_depend_on_partitions(ids, count, data):
    ids = np.array(ids)
    score = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=len(ids), max_size=len(ids))))
    cut = data.draw(st.integers(0, len(ids)))
    lot = lots(ids)
    whole = pick({"id": ids}, score, lot, count)
    parts = [pick({"id": ids[s]}, score[s], lot[s], count) for s in (slice(0, cut), slice(cut, None))]
    assert merged(merged(None, parts[0], count), parts[1], count)["id"].tolist() == whole["id"].tolist()
    assert len(whole["id"]) == min(count, np.isfinite(score).sum())
    assert np.all(np.diff(whole["score"]) <= 0)


def test_lots_are_uniform_and_uncorrelated_with_the_identifier():
    lot = lots(np.arange(20000))
    assert lot.min() >= 0 and lot.max() < 1
    # Kolmogorov-Smirnov distance, 1 % critical value 1.63 / sqrt(n).
    assert np.abs(np.sort(lot) - (np.arange(20000) + 0.5) / 20000).max() < 1.63 / np.sqrt(20000)
    assert abs(np.corrcoef(lot, np.arange(20000))[0, 1]) < 0.03


def test_page_shows_the_scores_of_evaluate(tmp_path):
    chunk = with_stamps(make_chunk())
    page = Page(make_report(tmp_path, [chunk]).read_text())
    found = evaluate(tmp_path, [chunk], bootstrap={"n": 200, "seed": 1})["overall"]
    for name, decimals in (("accuracy", 4), ("log_loss", 4), ("ece", 4)):
        shown = f"{found[name]['value']:.{decimals}f}("
        assert any(word.startswith(shown) for word in page.words), (name, shown)
    assert any("Scored on 600 of 600 rows" in word for word in page.words)


def test_page_is_the_same_whatever_the_partitions(tmp_path):
    chunk = with_stamps(make_chunk())
    whole = make_report(tmp_path, [chunk], name="whole.html")
    parts = make_report(tmp_path, [chunk[:0], chunk[:300], chunk[300:]], name="parts.html")
    assert whole.read_text() == parts.read_text()


def test_galleries_hold_the_right_objects(tmp_path):
    chunk = with_stamps(make_chunk())
    text = make_report(tmp_path, [chunk], gallery=5).read_text()
    uncertain = text[text.index("Most uncertain") :][: text.index("Least like") - text.index("Most uncertain")]
    shown = [int(name) for name in re.findall(r"<figcaption>(\d+)<br>", uncertain)]
    assert shown == np.argsort(-np.asarray(chunk["class_entropy"]))[:5].tolist()
    strange = re.findall(r"<figcaption>(\d+)<br>", text[text.index("Least like") :])
    assert [int(name) for name in strange] == np.argsort(-np.asarray(chunk["domain_score"]))[:5].tolist()
    quasars = text[text.index("Labelled QSO") : text.index("Labelled STAR")]
    for name in re.findall(r"<figcaption>(\d+)<br>", quasars):
        assert chunk["class_label"][int(name)] == "QSO"


def test_page_loads_nothing_and_escapes_names(tmp_path):
    text = make_report(tmp_path, [with_stamps(make_chunk())], title="<script>alert(1)</script>").read_text()
    page = Page(text)
    assert page.scripts == 0
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert "a &lt;field&gt; &amp; more" in text and "take care" in page.words
    assert all(image["alt"] for image in page.images)


def test_without_truth_or_marks_it_says_why_there_are_no_scores(tmp_path):
    chunk = with_stamps(make_chunk())
    fields = tuple(f for f in ALL if f.name not in ("class_true", "split", "stamp"))
    page = Page(make_report(tmp_path, [chunk], fields).read_text())
    assert any("Not scored: no rows that no model has seen" in word for word in page.words)
    # Without stamps, objects are listed.
    assert "domain_score" in page.words


def test_zero_rows_give_a_page(tmp_path):
    text = make_report(tmp_path, [with_stamps(make_chunk())[:0]]).read_text()
    assert "0 objects" in text


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"stamps": "stmap"}, "report: no column 'stmap'; did you mean 'stamp'?"),
        ({"stamps": "p_star"}, r"report: column 'p_star' has cells of shape \(\), not \(y, x, band\)"),
        ({"truth": {"class_lable": "class_true"}}, "report: `truth`: no column 'class_lable'; did you mean"),
    ],
)
def test_unknown_columns_are_told(parameters, said):
    with pytest.raises(ChunkError, match=said):
        Report(path="x.html", **parameters).reads(ALL)


# Pictures of stamps.


def test_a_red_object_is_red_and_a_hole_is_marked():
    cube = with_stamps(make_chunk(4))["stamp"].value[0]
    cube[:3, :3] = np.nan
    picture = colours(cube)
    assert picture.shape == (16, 16, 3) and picture.min() >= 0 and picture.max() <= 1
    red, green, blue = picture[7, 7]
    assert red > green > blue
    assert np.ptp(picture[0:3, 0:3].reshape(-1, 3), axis=0).max() == 0
    assert picture[7, 7].sum() > 3 * picture[14, 14].sum()


def test_a_picture_of_bytes_is_shown_as_it_is():
    cube = np.random.default_rng(0).uniform(0, 255, (8, 8, 3)).astype("f4")
    np.testing.assert_allclose(colours(cube, plain=True), cube / cube.max(), rtol=1e-6)


def test_png_has_row_0_at_the_bottom():
    picture = np.zeros((4, 6, 3), np.float32)
    picture[0, 0] = 1, 0, 0
    data = base64.b64decode(png(picture).partition(",")[2])
    shown = imread(io.BytesIO(data), format="png")
    assert shown.shape[:2] == (4, 6)
    np.testing.assert_array_equal(shown[3, 0, :3], [1, 0, 0])
    assert shown[0, 0, :3].sum() == 0


def test_noise_is_the_scatter_of_a_normal_distribution():
    assert noise(np.random.default_rng(0).normal(5, 3, 100_000)) == pytest.approx(3, rel=0.02)
    assert noise(np.full(5, np.nan)) == 1


# A real browser.

FRAME = """<!DOCTYPE html><html><body style="margin:0">
<iframe id="page" src="{page}" style="width:{width}px;height:900px;border:0"></iframe><script>
addEventListener("load", () => {{
  const page = document.getElementById("page").contentDocument;
  const images = [...page.images];
  const result = {{
    images: images.length,
    broken: images.filter(i => !i.complete || i.naturalWidth < 8).length,
    wide: images.filter(i => i.getBoundingClientRect().right > {width} + 1).length,
    overflow: page.documentElement.scrollWidth - {width},
    small: [...page.querySelectorAll("p, td, figcaption")]
      .filter(e => parseFloat(getComputedStyle(e).fontSize) < 11).length,
    headings: page.querySelectorAll("h2").length,
  }};
  const out = document.createElement("pre");
  out.id = "result";
  out.textContent = JSON.stringify(result);
  document.body.append(out);
}});
</script></body></html>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_chromium_shows_the_page(tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium (Debian package chromium)")
    page = make_report(tmp_path, [with_stamps(make_chunk())])
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.name, width=width))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1000"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=10000", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    result = json.loads(found[1])
    assert "CONSOLE" not in done.stderr, done.stderr
    assert result["images"] > 30 and result["broken"] == 0
    assert result["wide"] == 0 and result["overflow"] <= 0
    assert result["small"] == 0 and result["headings"] >= 4


def test_table_of_contents_names_every_section(tmp_path):
    text = make_report(tmp_path, [with_stamps(make_chunk())]).read_text()
    anchors = re.findall(r'<a href="#([\w ]+)"', text)
    assert anchors == re.findall(r'<section id="([\w ]+)"', text) and len(anchors) >= 4


def test_stored_columns_keep_their_rows():
    chunk = QTable({"object_id": np.array(["a", "b", "c"])})
    rows = pick({"id": np.asarray(chunk["object_id"])}, np.array([1.0, 3.0, 2.0]), lots(chunk["object_id"]), 2)
    assert rows["id"].tolist() == ["b", "c"]


def test_images_of_other_pixels_come_onto_those_of_the_first_one(tmp_path):
    y, x = np.indices((60, 80))
    places = {"g": (30.0, 20.0), "r": (33.0, 18.0), "i": (30.0, 20.0)}
    images = []
    for band, (right, up) in places.items():
        wcs = scenes.grid((60, 80))
        wcs.wcs.crpix += [right - 30, up - 20]
        light = 500 * np.exp(-((x - right) ** 2 + (y - up) ** 2) / 8)
        images.append(scenes.image(light + np.random.default_rng(5).normal(size=x.shape), band, wcs))
    images[1].data[:, :6] = np.nan
    scenes.write(images, tmp_path)
    picture, *_ = field_picture([str(tmp_path / f"{band}.fits") for band in places], {"score": np.zeros(0)})
    assert picture.shape == (60, 80, 3)
    for channel in range(3):
        weight = picture[14:27, 24:37, channel].astype(float)
        weight -= weight.min()
        middle = [np.sum(weight * grid[14:27, 24:37]) / weight.sum() for grid in (x, y)]
        np.testing.assert_allclose(middle, [30, 20], atol=0.4)


def test_objects_lie_at_their_places_on_the_picture_in_whatever_frame_it_is(tmp_path):
    wcs = scenes.galactic((40, 50))
    scenes.write([scenes.image(np.random.default_rng(0).normal(size=(40, 50)), "r", wcs)], tmp_path)
    sky = wcs.pixel_to_world([7.0, 31.0], [3.0, 22.0]).icrs
    rows = {"score": np.zeros(3), "ra": np.append(sky.ra.deg, np.nan), "dec": np.append(sky.dec.deg, 0.0)}
    picture, x, y = field_picture([str(tmp_path / "r.fits")], rows)
    assert picture.shape == (40, 50, 3)
    np.testing.assert_allclose(x, [7.0, 31.0, np.nan], atol=1e-3)
    np.testing.assert_allclose(y, [3.0, 22.0, np.nan], atol=1e-3)
