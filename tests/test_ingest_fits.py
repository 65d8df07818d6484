"""FITS tables: equal to what astropy reads, from the needed bytes only, and never by believing a header."""

import bz2
import gzip
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from astrokeras.errors import IngestError
from astrokeras.ingest.formats import open_table
from astrokeras.ingest.tablefile import TableOptions

N = 7


def columns():
    rng = np.random.default_rng(1)
    return [
        fits.Column("L", "L", array=rng.integers(0, 2, N).astype(bool)),
        fits.Column("B", "B", array=rng.integers(0, 255, N)),
        fits.Column("I", "I", array=rng.integers(-99, 99, N)),
        fits.Column("J", "J", array=rng.integers(-99, 99, N), null=5),
        fits.Column("K", "K", array=2**62 + np.arange(N)),
        fits.Column("U", "J", bzero=2**31, array=np.uint32(2**32 - 1) - np.arange(N, dtype=np.uint32)),
        fits.Column("UK", "K", bzero=2**63, array=np.uint64(2**64 - 1) - np.arange(N, dtype=np.uint64)),
        fits.Column("SB", "B", bzero=-128, array=np.arange(-3, N - 3, dtype=np.int8)),
        fits.Column("E", "E", unit="nJy", array=rng.normal(size=N)),
        fits.Column("D", "D", array=rng.normal(size=N)),
        fits.Column("S", "I", array=np.arange(N)),
        fits.Column("A", "6A", array=np.array(["a", "bcd ", "", "x y", " lead", "123456", "z"])),
        fits.Column("V", "5E", array=rng.normal(size=(N, 5))),
        fits.Column("M", "6J", dim="(3,2)", array=rng.integers(0, 9, (N, 2, 3))),
        fits.Column("X", "11X", array=rng.integers(0, 2, (N, 11)).astype(bool)),
        fits.Column("Z", "0E"),
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a table of every type."""
    path = tmp_path_factory.mktemp("fits") / "t.fits"
    fits.BinTableHDU.from_columns(columns(), name="CAT").writeto(path)
    fits.setval(path, "TSCAL11", value=0.5, ext=1)
    fits.setval(path, "TZERO11", value=10, ext=1)
    return path


def read(path, *names, options=None, max_rows=1000):
    table = open_table(str(path), options)
    parts = [table.read(names or table.names, cut) for cut in table.cuts(max_rows)]
    masked = {n for part in parts for n in part if np.ma.isMaskedArray(part[n].data)}
    join = {n: np.ma.concatenate if n in masked else np.concatenate for n in parts[0]}
    return {n: join[n]([part[n].data for part in parts]) for n in parts[0]}


@pytest.mark.parametrize("max_rows", [1000, 3, 1])
def test_equal_to_astropy(path, max_rows):
    found = read(path, max_rows=max_rows)
    with fits.open(path, uint=True) as hdus:
        expected = hdus[1].data
        for name in expected.names:
            if name == "Z":
                continue
            want = np.char.rstrip(expected[name]) if name == "A" else expected[name]
            assert np.array_equal(
                np.ma.getdata(found[name])[..., : want.shape[-1]] if name == "X" else found[name], want
            )
            assert found[name].dtype.isnative


def test_types(path):
    found = read(path)
    kinds = {
        "L": "bool",
        "I": "int16",
        "J": "int32",
        "K": "int64",
        "U": "int64",
        "UK": "uint64",
        "E": "float32",
        "D": "float64",
    }
    assert {n: str(found[n].dtype) for n in kinds} == kinds
    assert found["V"].shape == (N, 5)
    assert found["M"].shape == (N, 2, 3)
    assert open_table(str(path)).read(["E"], next(open_table(str(path)).cuts(9)))["E"].unit == "nJy"


def test_nulls(tmp_path):
    path = tmp_path / "n.fits"
    table = [
        fits.Column("J", "J", array=[1, 5, 7], null=5),
        fits.Column("S", "I", array=[1, 2, 3], null=2),
    ]
    fits.BinTableHDU.from_columns(table).writeto(path)
    fits.setval(path, "TSCAL2", value=0.5, ext=1)
    found = read(path)
    assert np.ma.getmaskarray(found["J"]).tolist() == [False, True, False]
    np.testing.assert_array_equal(found["S"], [0.5, np.nan, 1.5])
    fits.BinTableHDU.from_columns([fits.Column("L", "L", array=[True, False, True])]).writeto(tmp_path / "l.fits")
    raw = bytearray((tmp_path / "l.fits").read_bytes())
    raw[5760 + 2] = 0
    (tmp_path / "l.fits").write_bytes(bytes(raw))
    found = read(tmp_path / "l.fits")
    assert np.ma.getmaskarray(found["L"]).tolist() == [False, False, True]
    assert found["L"][:2].tolist() == [True, False]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed(path, tmp_path, pack):
    # The name is no witness: the content is.
    packed = tmp_path / "t.fits"
    packed.write_bytes(pack(path.read_bytes()))
    np.testing.assert_array_equal(read(packed, "D", "K", max_rows=3)["D"], read(path, "D")["D"])


def test_ascii_table(tmp_path):
    path = tmp_path / "a.fits"
    table = [
        fits.Column("A", "A5", array=["x", "yz"], ascii=True),
        fits.Column("I", "I6", array=[-3, 12], ascii=True),
        fits.Column("E", "E12.4", array=[1.5, -2e10], ascii=True),
        fits.Column("D", "D22.12", array=[np.pi, 1e-300], ascii=True),
    ]
    fits.TableHDU.from_columns(table).writeto(path)
    found = read(path)
    assert found["A"].tolist() == ["x", "yz"]
    assert found["I"].tolist() == [-3, 12]
    np.testing.assert_allclose(found["E"], [1.5, -2e10])
    np.testing.assert_allclose(found["D"], [np.pi, 1e-300], rtol=1e-12)
    raw = path.read_bytes().replace(b"    -3", b"      ")
    path.write_bytes(raw)
    assert np.ma.getmaskarray(read(path, "I")["I"]).tolist() == [True, False]


class TestChoice:
    def write(self, path, *names):
        hdus = [fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[i])], name=n) for i, n in enumerate(names)]
        fits.HDUList([fits.PrimaryHDU(), *hdus, fits.ImageHDU(np.zeros((3, 3)), name="PIX")]).writeto(path)
        return path

    def test_only_table(self, tmp_path):
        assert read(self.write(tmp_path / "t.fits", ""))["x"] == [0]

    def test_several_tables(self, tmp_path):
        path = self.write(tmp_path / "t.fits", "CAT", "INFO")
        with pytest.raises(IngestError, match=r"several tables; name one with `hdu:` \(1 CAT, 2 INFO\)"):
            open_table(str(path))
        for wanted in (2, "INFO", "info"):
            assert read(path, options=TableOptions(hdu=wanted))["x"] == [1]

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ("CAR", "no HDU 'CAR'; tables: 1 CAT"),
            (9, "no HDU 9"),
            ("PIX", "no table in the image HDU 'PIX'"),
            (0, "no table in the primary HDU 0"),
        ],
    )
    def test_wrong_choice(self, tmp_path, wanted, message):
        path = self.write(tmp_path / "t.fits", "CAT")
        with pytest.raises(IngestError, match=message):
            open_table(str(path), TableOptions(hdu=wanted))

    def test_ldac(self, tmp_path):
        path = self.write(tmp_path / "t.fits", "LDAC_IMHEAD", "LDAC_OBJECTS")
        assert read(path)["x"] == [1]

    def test_no_table(self, tmp_path):
        path = tmp_path / "i.fits"
        fits.PrimaryHDU(np.zeros((4, 4))).writeto(path)
        with pytest.raises(IngestError, match="has 1 HDU and no table"):
            open_table(str(path))

    def test_compressed_image_is_no_table(self, tmp_path):
        path = tmp_path / "c.fits"
        fits.CompImageHDU(np.zeros((64, 64), np.int16)).writeto(path)
        with pytest.raises(IngestError, match="has 2 HDUs and no table"):
            open_table(str(path))


class TestDamage:
    def damaged(self, path, tmp_path, old=b"", new=b"", end=None):
        raw = path.read_bytes()
        assert old in raw
        bad = tmp_path / "bad.fits"
        bad.write_bytes(raw.replace(old, new.ljust(len(old)), 1)[:end])
        return str(bad)

    @pytest.mark.parametrize(
        ("end", "message"),
        [(-2880, "truncated"), (2880 + 700, "ends within the header; it is truncated"), (2880, "1 HDU and no table")],
    )
    def test_truncated(self, path, tmp_path, end, message):
        with pytest.raises(IngestError, match=message) as caught:
            open_table(self.damaged(path, tmp_path, end=end))
        assert "bad.fits" in str(caught.value)

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
    def test_truncated_when_packed(self, path, tmp_path, pack):
        bad = tmp_path / "bad.fits.gz"
        bad.write_bytes(pack(path.read_bytes())[:-300])
        with pytest.raises(IngestError, match="truncated"):
            open_table(str(bad))
        bad.write_bytes(pack(path.read_bytes()[:-2880]))
        with pytest.raises(IngestError, match="truncated"):
            open_table(str(bad))

    def test_lying_number_of_rows_costs_no_memory(self, path, tmp_path):
        tracemalloc.start()
        with pytest.raises(IngestError, match="truncated"):
            open_table(
                self.damaged(path, tmp_path, b"NAXIS2  =                    7", b"NAXIS2  =           9999999999")
            )
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()

    def test_bomb(self, tmp_path):
        path = tmp_path / "bomb.fits.gz"
        table = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1])])
        table.writeto(path)
        raw = bytearray(gzip.decompress(path.read_bytes()))
        lie = bytes(raw).replace(b"NAXIS2  =                    1", b"NAXIS2  =           9999999999")
        path.write_bytes(gzip.compress(lie))
        with pytest.raises(IngestError, match="unpack it first"):
            open_table(str(path))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"NAXIS2  =                    7", b"NAXIS2  =                   -7", "NAXIS2 = -7 is no number"),
            (b"NAXIS2  =                    7", b"NAXIS2  = 'seven'", "NAXIS2 = 'seven' is no number"),
            (b"TFORM1  = 'L       '", b"TFORM1  = 'W'", "TFORM1 = 'W' is no type of a column"),
            (b"TFORM1  = 'L       '", b"TFORM1  = '9999L'", "columns take"),
            (b"TTYPE1  = 'L       '", b"TTYPE1  = 'B'", "column B occurs more than once"),
            (b"TSCAL11 =                  0.5", b"TSCAL11 = 'half'", "TSCAL = 'half'"),
        ],
    )
    def test_lying_headers(self, path, tmp_path, old, new, message):
        with pytest.raises(IngestError, match=message):
            read(self.damaged(path, tmp_path, old, new))

    def test_compressed_table(self, tmp_path):
        path = tmp_path / "z.fits.fz"
        table = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1])])
        table.header["ZTABLE"] = True
        table.writeto(path)
        with pytest.raises(IngestError, match="unpack it with funpack"):
            open_table(str(path))

    def test_ascii_columns_that_are_none(self, tmp_path):
        path = tmp_path / "a.fits"
        fits.TableHDU.from_columns([fits.Column("I", "I6", array=[12], ascii=True)]).writeto(path)
        raw = path.read_bytes()
        path.write_bytes(raw.replace(b"    12", b"twelve"))
        with pytest.raises(IngestError, match=r"column 'I': .*twelve"):
            read(path)
        path.write_bytes(raw.replace(b"TFORM1  = 'I6", b"TFORM1  = 'Q6"))
        with pytest.raises(IngestError, match="TFORM1 = 'Q6', TBCOL1 = 1 describe no column"):
            open_table(str(path))

    def test_trailing_garbage_is_left_alone(self, path, tmp_path):
        bad = tmp_path / "bad.fits"
        bad.write_bytes(path.read_bytes() + b"garbage" * 1000)
        assert len(read(bad, "D")["D"]) == N

    def test_variable_length(self, tmp_path):
        path = tmp_path / "v.fits"
        table = [
            fits.Column("x", "J", array=[1, 2]),
            fits.Column("v", "PJ()", array=np.array([[1], [2, 3]], dtype=object)),
        ]
        fits.BinTableHDU.from_columns(table).writeto(path)
        assert read(path, "x")["x"].tolist() == [1, 2]
        with pytest.raises(IngestError, match=r"HDU 1, column 'v': .*variable length"):
            read(path, "v")

    def test_no_rows(self, tmp_path):
        path = tmp_path / "e.fits"
        fits.BinTableHDU(np.zeros(0, [("V", ">f4", (5,))])).writeto(path)
        assert len(read(path, "V")["V"]) == 0


def test_only_needed_bytes_are_read(tmp_path):
    path = tmp_path / "wide.fits"
    wide = np.zeros(2000, dtype=[("x", ">f4"), ("wide", ">f8", (2000,))])
    wide["x"] = np.arange(2000)
    fits.BinTableHDU(wide).writeto(path)
    table = open_table(str(path))
    (cut,) = table.cuts(2000)
    tracemalloc.start()
    found = table.read(["x"], cut)["x"].data
    assert tracemalloc.get_traced_memory()[1] < 1e6 < path.stat().st_size / 30
    tracemalloc.stop()
    np.testing.assert_array_equal(found, np.arange(2000))
