"""The work directory: parts come back equal, only when finished, and repeated identifiers are found."""

import json
import os
import resource
import socket
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from hypothesis import given, settings
from hypothesis import strategies as st

from astrokeras import identifiers
from astrokeras.chunk import project
from astrokeras.errors import StoreError
from astrokeras.fields import Field
from astrokeras.file_digests import FileDigests
from astrokeras.identifiers import duplicates, id_hashes
from astrokeras.store import Store, digest, made_once, making, read_part, receipt, write_json, write_part

FIELDS = (
    Field(name="object_id", kind="id"),
    Field(name="flux_g", unit="nJy", filter="SLOAN/SDSS.g"),
    Field(name="z_pdf", shape=(3,), meta={"z_min": 0.0}),
    Field(name="n_obs", kind="i2", null=-1),
    Field(name="name", kind="str"),
    Field(name="good", kind="bool"),
)


def chunk():
    return QTable(
        {
            "object_id": np.array([3, 1, 2]),
            "flux_g": np.array([1.5, np.nan, -2.0], np.float32) * u.nJy,
            "z_pdf": np.arange(9, dtype=np.float32).reshape(3, 3),
            "n_obs": MaskedColumn(np.array([1, 2, 3], np.int16), mask=[False, True, False]),
            "name": np.array(["a", "", "Žluť"]),
            "good": np.array([True, False, True]),
        }
    )


def test_a_part_comes_back_equal(tmp_path):
    write_part(tmp_path / "p", chunk(), FIELDS, {"rows_read": 5})
    back = read_part(tmp_path / "p", [f.name for f in FIELDS])
    assert back["flux_g"].unit == u.nJy
    np.testing.assert_array_equal(back["flux_g"].value, chunk()["flux_g"].value)
    np.testing.assert_array_equal(back["z_pdf"], chunk()["z_pdf"])
    assert back["z_pdf"].info.meta["z_min"] == 0.0
    assert back["flux_g"].info.meta["filter"] == "SLOAN/SDSS.g"
    assert list(back["n_obs"].mask) == [False, True, False]
    assert back["n_obs"].dtype == np.int16
    assert list(back["name"]) == ["a", "", "Žluť"]
    assert list(back["good"]) == [True, False, True]
    assert receipt(tmp_path / "p")["rows_read"] == 5


def test_only_asked_columns_are_read(tmp_path):
    write_part(tmp_path / "p", chunk(), FIELDS, {})
    (tmp_path / "p" / "z_pdf.npy").unlink()
    assert read_part(tmp_path / "p", ["name", "object_id"]).colnames == ["name", "object_id"]
    with pytest.raises(StoreError, match=r"no columns \['flux_r'\]"):
        read_part(tmp_path / "p", ["flux_r"])


def test_a_failed_body_leaves_nothing(tmp_path):
    def broken():
        with making(tmp_path / "p") as new:
            (new / "half").write_text("x")
            raise KeyError("boom")

    with pytest.raises(KeyError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_the_loser_of_a_race_discards(tmp_path):
    with making(tmp_path / "p") as new:
        made_once(tmp_path / "p", lambda other: {"winner": "first"})
        (new / "receipt.json").write_text(json.dumps({"winner": "second"}))
    assert receipt(tmp_path / "p") == {"winner": "first"}


def test_an_unfinished_directory_is_replaced(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "junk").write_text("x")
    made_once(tmp_path / "p", lambda new: {"n": 1})
    assert receipt(tmp_path / "p") == {"n": 1}
    assert not (tmp_path / "p" / "junk").exists()


def test_prepare_removes_what_a_dead_process_left(tmp_path):
    host = socket.gethostname()
    names = [f".new-{host}-{2**22 + 1}-x", f".new-{host}-1-x", f".new-elsewhere.{host}-{2**22 + 1}-x"]
    dead, alive, elsewhere = (tmp_path / "parts" / name for name in names)
    for leftover in (dead, alive, elsewhere):
        leftover.mkdir(parents=True)
    (tmp_path / names[0]).write_text("{")
    Store(tmp_path).prepare()
    assert not dead.exists()
    assert not (tmp_path / names[0]).exists()
    # A process of another host may still be at work in a shared directory.
    assert alive.exists()
    assert elsewhere.exists()


def test_a_killed_writer_of_json_leaves_what_prepare_removes(tmp_path):
    """The name beside the target is one that the next run knows as a leftover."""
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom astrokeras import store\n"
        "store.os.replace = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"store.write_json(Path({str(tmp_path / 'files.json')!r}), {{}})\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    Store(tmp_path).prepare()
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "files.json", {})
    assert [p.name for p in tmp_path.iterdir()] == ["files.json"]


def test_unwritable_root_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use the work directory"):
        Store(tmp_path / "file" / "below").prepare()


def test_digest_is_of_content_not_of_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_file_digest_is_sha256_and_follows_changes(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    known = FileDigests(tmp_path / "files.json")
    # FIPS 180-2, appendix B.1.
    assert known(str(path)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    known.save()
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert FileDigests(tmp_path / "files.json")(str(path)) != known.known[str(path)][2]
    with pytest.raises(StoreError, match="No such file"):
        known(str(tmp_path / "absent"))


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9), max_size=30), min_size=1, max_size=4),
        st.lists(st.lists(st.text("abc", max_size=2), max_size=30), min_size=1, max_size=4),
    )
)
def test_duplicates_are_those_that_counting_finds(tmp_path_factory, parts):
    root = tmp_path_factory.mktemp("ids")
    for k, ids in enumerate(parts):
        (root / str(k)).mkdir()
        array = np.array(ids) if ids else np.empty(0, np.int64)
        np.save(root / str(k) / "ids.npy", np.sort(id_hashes(array)))
    found = duplicates(root / str(k) / "ids.npy" for k in range(len(parts)))
    everything = [i for ids in parts for i in ids]
    expected = {i for i in everything if everything.count(i) > 1}
    wanted = np.sort(id_hashes(np.array(sorted(expected)))) if expected else []
    assert list(found) == list(wanted)


@pytest.mark.parametrize("limit", [1, 7, 1 << 22])
def test_duplicates_are_found_range_by_range(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(identifiers, "RANGE", limit)
    draw = np.random.default_rng(1)
    ids = draw.integers(0, 300, 200)
    for k in range(5):
        np.save(tmp_path / f"{k}.npy", np.sort(id_hashes(ids[k::5])))
    values, counts = np.unique(ids, return_counts=True)
    assert list(duplicates(tmp_path / f"{k}.npy" for k in range(5))) == list(values[counts > 1])


def test_more_parts_than_open_files(tmp_path):
    """A thousand partitions are a small survey, and 1024 open files what most systems allow."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for k in range(200):
        np.save(tmp_path / f"{k}.npy", id_hashes(np.array([k, 1000])))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(150, limits[1]), limits[1]))
    try:
        assert list(duplicates(tmp_path / f"{k}.npy" for k in range(200))) == [1000]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_missing_cells_and_texts_come_back_missing(tmp_path):
    fields = [Field(name="v", kind="i4", shape=(2,)), Field(name="t", kind="str")]
    cells = MaskedColumn(np.arange(4, dtype=np.int32).reshape(2, 2), mask=[[True, False], [False, False]])
    table = QTable({"v": cells, "t": MaskedColumn(["a", "b"], mask=[False, True])})
    write_part(tmp_path / "p", project(table, fields, "test"), fields, {})
    again = read_part(tmp_path / "p", ["v", "t"])
    assert np.ma.getmaskarray(again["v"]).tolist() == [[True, False], [False, False]]
    assert list(again["v"][1]) == [2, 3]
    assert list(again["t"]) == ["a", ""]
