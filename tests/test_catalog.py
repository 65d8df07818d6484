"""The source ``catalog``: what it promises about fields, partitions and rows."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from pydantic import ValidationError

from astrokeras.chunk import concatenate
from astrokeras.errors import IngestError
from astrokeras.flags import Flag
from astrokeras.ingest.catalog import Catalog

N = 25
SURVEY = {
    "object_id": "ID",
    "position": {"ra": "RA", "dec": "DEC"},
    "missing": [-9999, 99],
    "bands": {"g": "SLOAN/SDSS.g", "r": "SLOAN/SDSS.r", "i": "SLOAN/SDSS.i"},
    "photometry": {
        "model": {"mag": "mag_{band}", "error": "err_{band}", "system": "AB"},
        "psf": {"mag": "psf_{band}", "system": "AB", "dereddened": "unverified"},
    },
    "default": "model",
    "z_spec": {"column": "Z", "optional": True},
}


def table(n=N, seed=3):
    rng = np.random.default_rng(seed)
    out = Table({"ID": np.arange(n) + 100 * seed, "RA": rng.uniform(0, 360, n), "DEC": rng.uniform(-90, 90, n)})
    for band in "gri":
        out[f"mag_{band}"] = rng.normal(20, 1, n).astype(np.float32)
        out[f"err_{band}"] = rng.uniform(0.01, 0.2, n).astype(np.float32)
        out[f"psf_{band}"] = rng.normal(20, 1, n)
    out["Z"] = rng.uniform(0, 1, n)
    out["type"] = rng.choice([3, 6], n)
    out["vec"] = rng.normal(size=(n, 3))
    return out


@pytest.fixture
def path(tmp_path):
    """Return a FITS catalog."""
    table().write(tmp_path / "cat.fits")
    return str(tmp_path / "cat.fits")


def everything(source, max_rows=1000, columns=None):
    columns = [f.name for f in source.fields()] if columns is None else columns
    parts = list(source.partitions(max_rows))
    assert [p.key for p in parts] == sorted(p.key for p in parts)
    return concatenate([source.read(p, columns) for p in parts])


class TestFields:
    def test_known_without_any_file(self):
        source = Catalog(files="/nowhere/*.fits", survey=SURVEY, photometry={"psf": "psf"})
        names = [f.name for f in source.fields()]
        assert names == [
            *("object_id", "ra", "dec", "flux_g", "flux_err_g", "flux_r", "flux_err_r", "flux_i", "flux_err_i"),
            *("flux_psf_g", "flux_psf_r", "flux_psf_i", "z_spec", "flags"),
        ]
        field = {f.name: f for f in source.fields()}
        assert (field["flux_g"].filter, field["flux_g"].photometry, field["flux_g"].dereddened) == (
            "SLOAN/SDSS.g",
            "model",
            "no",
        )
        assert field["flux_psf_i"].dereddened == "unverified"
        assert field["flux_err_r"].unit == "nJy"

    def test_promises_are_kept(self, path):
        source = Catalog(files=path, survey=SURVEY, keep={"type": {"kind": "i4"}, "second": {"column": "vec[1]"}})
        out = everything(source)
        assert out.colnames == [f.name for f in source.fields()]
        kinds = {"f4": "float32", "f8": "float64", "i4": "int32", "id": "int64"}
        for field in source.fields():
            assert str(out[field.name].dtype) == kinds[field.kind]
            assert str(getattr(out[field.name], "unit", None) or "") == field.unit

    def test_split_only_where_files_say_so(self, path):
        assert "split" not in [f.name for f in Catalog(files=path, survey=SURVEY).fields()]
        assert "split" in [f.name for f in Catalog(files=({"path": path, "split": "test"},), survey=SURVEY).fields()]


class TestParameters:
    @pytest.mark.parametrize(
        ("changes", "place", "message"),
        [
            ({"survey": "sdss-casjob"}, ("survey",), "did you mean 'sdss-casjobs'"),
            ({"survey": SURVEY | {"bands": {"g": {"filtr": "x"}}}}, ("survey", "bands", "g", "filtr"), "not permitted"),
            ({"survey": None}, ("bands",), "`bands` must be named"),
            ({"bands": ("q",)}, ("bands",), "no band 'q'"),
            ({"photometry": "modl"}, ("photometry",), "did you mean 'model'"),
            ({"photometry": {"total": "cmodel"}}, ("photometry",), "no photometry 'cmodel'"),
            ({"deredden": True}, ("deredden",), "states no extinction"),
            ({"keep": ("flux_g",)}, ("keep",), "two columns would be named flux_g"),
            ({"files": ()}, ("files",), "at least 1"),
            ({"where": "type = 3"}, ("where",), "equality is written =="),
            ({"bnads": ("g",)}, ("bnads",), "not permitted"),
            ({"delimiter": ";;"}, ("delimiter",), "at most 1"),
        ],
    )
    def test_mistakes_are_named_at_their_key(self, changes, place, message):
        with pytest.raises(ValidationError) as caught:
            Catalog(**({"files": "x.fits", "survey": SURVEY} | changes))
        assert any(e["loc"][: len(place)] == place and message in e["msg"] for e in caught.value.errors())

    def test_all_mistakes_at_once(self):
        with pytest.raises(ValidationError) as caught:
            Catalog(files="x", survey=SURVEY, bands=("q",), photometry="modl")
        assert [e["loc"] for e in caught.value.errors()] == [("bands",), ("photometry",)]

    def test_json_and_pickle_round_trips(self, path):
        source = Catalog(
            files=({"path": path, "split": "test"},), survey=SURVEY, photometry={"psf": "psf"}, keep=("type",)
        )
        source.fields()
        assert Catalog.model_validate_json(source.model_dump_json()) == source
        assert pickle.loads(pickle.dumps(source)).fields() == source.fields()
        assert Catalog.model_validate_json(json.dumps(json.loads(source.model_dump_json())), strict=True) == source

    def test_json_schema(self):
        schema = Catalog.model_json_schema()
        assert "SurveyMap" in schema["$defs"]
        assert set(schema["properties"]) >= {"files", "survey", "where", "keep"}


class TestRows:
    @pytest.mark.parametrize("max_rows", [1, 7, 25, 1000])
    @pytest.mark.parametrize("suffix", ["fits", "csv", "ecsv", "parquet", "xml"])
    def test_formats_and_partitions_agree(self, tmp_path, path, suffix, max_rows):
        expected = everything(Catalog(files=path, survey=SURVEY))
        rows = table()
        other = tmp_path / f"other.{suffix}"
        if suffix in ("csv", "ecsv", "parquet"):
            rows.remove_column("vec")
        kinds = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "xml": "votable"}
        rows.write(other, **({"format": kinds[suffix]} if suffix in kinds else {}))
        source = Catalog(files=str(other), survey=SURVEY)
        parts = list(source.partitions(max_rows))
        assert all(p.rows <= max_rows for p in parts)
        assert sum(p.rows for p in parts) == N
        found = everything(source, max_rows)
        for name in expected.colnames:
            np.testing.assert_allclose(np.asarray(found[name]), np.asarray(expected[name]), rtol=1e-6, err_msg=name)

    def test_payload_is_json(self, path):
        (partition,) = Catalog(files=path, survey=SURVEY).partitions(100)
        assert json.loads(json.dumps(dict(partition.payload))) == dict(partition.payload)
        assert partition.files == (path,)

    def test_columns_are_pruned(self, path):
        source = Catalog(files=path, survey=SURVEY)
        (partition,) = source.partitions(100)
        out = source.read(partition, ["flux_r", "object_id"])
        assert out.colnames == ["flux_r", "object_id"]
        assert out["flux_r"].unit == u.nJy

    def test_flags_do_not_depend_on_pruning(self, tmp_path):
        rows = table()
        rows["mag_g"][3] = -9999
        rows["err_i"][4] = 0
        rows["RA"][5] = 400
        rows.write(tmp_path / "f.fits")
        source = Catalog(files=str(tmp_path / "f.fits"), survey=SURVEY)
        (partition,) = source.partitions(100)
        flags = np.asarray(source.read(partition, ["flags"])["flags"])
        assert flags.tolist() == np.asarray(everything(source)["flags"]).tolist()
        assert flags[3] == Flag.MISSING_BAND
        assert flags[4] == Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY
        assert flags[5] == Flag.BAD_POSITION
        assert np.count_nonzero(flags) == 3

    @pytest.mark.parametrize(
        ("where", "keep"),
        [
            ("z_spec > 0.5", lambda t: t["Z"] > 0.5),
            ("Z > 0.5 and type == 3", lambda t: (t["Z"] > 0.5) & (t["type"] == 3)),
            ("vec[2] < 0", lambda t: t["vec"][:, 2] < 0),
            ("ID in (300, 307)", lambda t: np.isin(t["ID"], [300, 307])),
            ("flux_r / flux_err_r > 10 and dec < 0", lambda t: (np.log(10) / 2.5 * t["err_r"] < 0.1) & (t["DEC"] < 0)),
            ("TYPE == 6", lambda t: t["type"] == 6),
            ("flags == 0", lambda t: np.ones(len(t), bool)),
            ("split == 'train'", lambda t: np.ones(len(t), bool)),
        ],
    )
    def test_where(self, path, where, keep):
        source = Catalog(files=({"path": path, "split": "train"},), survey=SURVEY, where=where)
        rows = table()
        found = everything(source, 7, ["object_id"])
        assert found["object_id"].tolist() == rows["ID"][keep(rows)].tolist()
        partition = next(iter(source.partitions(7)))
        assert source.read(partition, ["flux_g"]).meta["rows_read"] == 7

    def test_nothing_left(self, path):
        out = everything(Catalog(files=path, survey=SURVEY, where="z_spec > 7"))
        assert len(out) == 0
        assert out["flux_g"].unit == u.nJy

    def test_where_names_an_unknown_column(self, path):
        with pytest.raises(IngestError, match="no column 'typ'; did you mean 'type'"):
            list(Catalog(files=path, survey=SURVEY, where="typ == 3").partitions(100))

    def test_header_only(self, tmp_path):
        path = tmp_path / "e.csv"
        path.write_text("ID,RA,DEC,mag_g,err_g,mag_r,err_r,mag_i,err_i\n")
        out = everything(Catalog(files=str(path), survey=SURVEY))
        assert len(out) == 0
        assert out.colnames[-2:] == ["z_spec", "flags"]

    def test_kept_columns(self, path, tmp_path):
        keep = {
            "type": {"kind": "i2"},
            "w": {"column": "vec", "shape": (3,), "kind": "f4"},
            "text": {"column": "type", "kind": "str"},
        }
        out = everything(Catalog(files=path, survey=SURVEY, keep=keep))
        np.testing.assert_allclose(out["w"], table()["vec"].astype(np.float32))
        assert out["text"].tolist() == [str(x) for x in table()["type"]]
        assert out["type"].dtype == np.int16
        raw = tmp_path / "raw.csv"
        raw.write_text("ID,RA,DEC,mag_g,err_g,n,t,b\n1,2,3,20,0.1,5,4.5,1\n2,2,3,20,0.1,,,0\n")
        kinds = {
            "n": {"kind": "i4"},
            "t": {"unit": "arcsec"},
            "b": {"kind": "bool"},
            "name": {"column": "ID", "kind": "id"},
        }
        out = everything(Catalog(files=str(raw), survey=SURVEY, bands=("g",), keep=kinds))
        assert out["n"].tolist() == [5, None]
        np.testing.assert_array_equal(out["t"], [4.5, np.nan] * u.arcsec)
        assert (out["b"].tolist(), out["name"].tolist()) == ([True, False], [1, 2])
        with pytest.raises(IngestError, match="column 'Z' holds fractions; keep it as f8"):
            everything(Catalog(files=path, survey=SURVEY, keep={"Z": {"kind": "i4"}}))
        raw.write_text("ID,RA,DEC,mag_g,err_g,kind\n1,2,3,20,0.1,EXP\n")
        for keep, said in (
            (("kind",), "kind: {kind: str}"),
            ({"k": {"column": "kind"}}, "k: {column: kind, kind: str}"),
        ):
            with pytest.raises(
                IngestError, match=f"needs numbers, found 'EXP' in row 0; to keep text, say keep: {{{said}}}"
            ):
                everything(Catalog(files=str(raw), survey=SURVEY, bands=("g",), keep=keep))
        with pytest.raises(IngestError, match="no column 'typ'"):
            everything(Catalog(files=path, survey=SURVEY, keep=("typ",)))


class TestFiles:
    def test_pattern_and_split(self, tmp_path):
        for i, name in enumerate(["b", "a", "c"]):
            table(5, seed=i + 1).write(tmp_path / f"{name}.fits")
        files = ({"path": str(tmp_path / "[ab].fits"), "split": "train"}, str(tmp_path / "c.fits"))
        out = everything(Catalog(files=files, survey=SURVEY), 3)
        assert out["object_id"].tolist() == [*range(200, 205), *range(100, 105), *range(300, 305)]
        assert out["split"].tolist() == ["train"] * 10 + [""] * 5

    def test_rows_are_numbered_over_all_files(self, tmp_path):
        for name in "ab":
            table(5).write(tmp_path / f"{name}.fits")
        survey = {k: v for k, v in SURVEY.items() if k != "object_id"}
        out = everything(Catalog(files=str(tmp_path / "*.fits"), survey=survey), 2)
        assert out["object_id"].tolist() == list(range(10))

    def test_no_match_and_twice(self, tmp_path, path):
        with pytest.raises(IngestError, match="no file matches"):
            list(Catalog(files=str(tmp_path / "x*.fits"), survey=SURVEY).partitions(9))
        with pytest.raises(IngestError, match="named twice"):
            list(Catalog(files=(path, path), survey=SURVEY).partitions(9))
        with pytest.raises(IngestError, match=r"gone\.fits: no such file"):
            list(Catalog(files=str(tmp_path / "gone.fits"), survey=SURVEY).partitions(9))

    def test_a_band_that_the_file_lacks(self, tmp_path):
        rows = table()
        rows.remove_columns(["mag_i", "err_i"])
        rows.write(tmp_path / "t.fits")
        source = Catalog(files=str(tmp_path / "t.fits"), survey=SURVEY)
        with pytest.raises(IngestError, match=r"no column 'mag_i'.*if the file has no i band, say bands: \[g, r\]"):
            list(source.partitions(9))
        assert len(everything(Catalog(files=str(tmp_path / "t.fits"), survey=SURVEY, bands=("g", "r")))) == N

    def test_options_reach_the_reader(self, tmp_path):
        hdus = [fits.PrimaryHDU(), *(fits.BinTableHDU(table(4, s), name=n) for s, n in ((1, "A"), (2, "B")))]
        fits.HDUList(hdus).writeto(tmp_path / "t.fits")
        out = everything(Catalog(files=str(tmp_path / "t.fits"), survey=SURVEY, hdu="B"))
        assert out["object_id"][0] == 200

    def test_messages_name_file_and_rows(self, tmp_path):
        rows = table()
        rows["ID"] = rows["ID"] + 0.5
        rows.write(tmp_path / "t.fits")
        with pytest.raises(IngestError, match=r"t\.fits, HDU 1, rows 0 to 25: column 'ID' holds fractions"):
            everything(Catalog(files=str(tmp_path / "t.fits"), survey=SURVEY))

    def test_survey_file_counts_as_input(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("bands: [g]\nphotometry: {m: {mag: 'mag_{band}', system: AB}}\n")
        table().write(tmp_path / "t.fits")
        source = Catalog(files=str(tmp_path / "t.fits"), survey=str(path))
        (partition,) = source.partitions(100)
        assert partition.files == (str(tmp_path / "t.fits"), str(path))

    def test_canonical_files(self, tmp_path):
        rows = Table(
            {
                "object_id": ["a", "b"],
                "flux_g": [1.0, 2.0] * u.uJy,
                "flux_err_g": [0.1, 0.2] * u.uJy,
                "z_spec": [0.1, 0.2],
            }
        )
        rows.write(tmp_path / "t.fits")
        out = everything(Catalog(files=str(tmp_path / "t.fits"), bands=("g",)))
        np.testing.assert_allclose(out["flux_g"].value, [1000, 2000])
        np.testing.assert_allclose(out["flux_err_g"].value, [100, 200])
        assert out["z_spec"].tolist() == [0.1, 0.2]
        assert out["object_id"].tolist() == ["a", "b"]
        assert np.isnan(out["ra"].value).all()
        assert not np.any(np.asarray(out["flags"]))


def test_rubin_dp1(tmp_path):
    n, rng = 6, np.random.default_rng(0)
    rows = Table(
        {
            "objectId": 611255759837069401 + np.arange(n),
            "coord_ra": rng.uniform(50, 60, n),
            "coord_dec": rng.uniform(-30, -20, n),
        }
    )
    for band in "ugrizy":
        rows[f"{band}_cModelFlux"] = rng.normal(1000, 300, n).astype(np.float32) * u.nJy
        rows[f"{band}_cModelFluxErr"] = np.full(n, 20, np.float32) * u.nJy
        rows[f"{band}_cModel_flag"] = np.zeros(n, bool)
        rows[f"{band}_psfFlux"] = rng.normal(900, 300, n).astype(np.float32) * u.nJy
        rows[f"{band}_psfFluxErr"] = np.full(n, 10, np.float32) * u.nJy
    rows["y_cModelFlux"][1] = np.nan
    rows["g_cModel_flag"][2] = True
    rows["refExtendedness"] = [0.0, 1, 1, np.nan, 0, 1]
    rows["ebv"] = np.full(n, 0.1)
    rows["detect_isPrimary"] = [True, True, True, True, True, False]
    rows.write(tmp_path / "dp1.fits")
    source = Catalog(
        files=str(tmp_path / "dp1.fits"), survey="lsst-dp1", photometry={"psf": "psf"}, where="detect_isPrimary == 1"
    )
    out = everything(source)
    assert out["object_id"].tolist() == (611255759837069401 + np.arange(5)).tolist()
    np.testing.assert_array_equal(out["flux_i"].value, rows["i_cModelFlux"][:5])
    np.testing.assert_array_equal(out["flux_psf_u"].value, rows["u_psfFlux"][:5])
    missing, bad = int(Flag.MISSING_BAND), int(Flag.MISSING_BAND | Flag.BAD_PHOTOMETRY)
    assert np.asarray(out["flags"]).tolist() == [0, missing, bad, 0, 0]
    np.testing.assert_array_equal(out["extendedness"], np.float32([0, 1, 1, np.nan, 0]))
    source = Catalog(files=str(tmp_path / "dp1.fits"), survey="lsst-dp1", deredden=True)
    red = everything(source, columns=["flux_u"])
    np.testing.assert_allclose(red["flux_u"].value[:5] / out["flux_u"].value, 10 ** (0.4 * 4.81 * 0.1), rtol=1e-6)


def test_casjobs(tmp_path):
    rows = Table(
        {
            "objid": [1237649768107474963],
            "RA": [10.0],
            "Dec": [1.0],
            "clean": [1],
            "mode": [1],
            "type": [3],
            "class": ["GALAXY"],
        }
    )
    for band in "ugriz":
        rows[f"modelMag_{band}"], rows[f"modelMagErr_{band}"], rows[f"extinction_{band}"] = [24.63], [0.5], [0.1]
    rows["modelMag_g"] = [-9999.0]
    rows.write(tmp_path / "cas.csv")
    source = Catalog(
        files=str(tmp_path / "cas.csv"), survey="sdss-casjobs", where="clean == 1 and mode == 1", deredden=True
    )
    out = everything(source)
    # An asinh magnitude of 24.63 in u is a flux of zero (SDSS EDR, table 21), with the error 0.5 ln(10)/2.5 2 b f0.
    scale = 10**0.04
    assert abs(out["flux_u"].value[0]) < 0.01 * 3631
    assert out["flux_err_u"].value[0] == pytest.approx(scale * 0.5 * np.log(10) / 2.5 * 2 * 1.4e-10 * 3631e9, rel=1e-3)
    assert np.isnan(out["flux_g"].value[0])
    assert (out["class_true"][0], out["extendedness"][0], np.asarray(out["flags"])[0]) == (
        "GALAXY",
        1,
        Flag.MISSING_BAND,
    )


def test_imports_are_light():
    code = (
        "import sys; from astrokeras.ingest.catalog import Catalog; Catalog(files='x', survey='sdss-casjobs').fields();"
        "heavy = {'tensorflow', 'keras', 'pandas', 'pyarrow', 'astropy.table', 'astropy.io', 'astropy.coordinates'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_all_lacking_columns_are_named_at_once(tmp_path):
    path = tmp_path / "skyserver.csv"
    path.write_text("objID,ra,dec,u,g,r,i,z\n1,10,20,18,17,16,15,14\n")
    source = Catalog(files=str(path), survey="sdss-casjobs", bands=("g", "r"))
    with pytest.raises(
        IngestError, match=r"skyserver\.csv.*no column 'modelMag_g'.*nor 'modelMagErr_g', 'modelMag_r', 'modelMagErr_r'"
    ):
        list(source.partitions(10))
