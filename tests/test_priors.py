"""Class ratios over magnitude and galactic latitude."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from pydantic import ValidationError

from astrokeras.errors import IngestError
from astrokeras.priors import ClassPrior, galactic_latitude

CLASSES = ("GALAXY", "QSO", "STAR")


def ratio(galaxy, qso, star):
    return {"GALAXY": galaxy, "QSO": qso, "STAR": star}


def row(mag, ratios, **more):
    return {"mag": mag, "ratio": ratio(*ratios), **more}


BRIGHT, MIDDLE, FAINT = (0.1, 0.0, 0.9), (0.4, 0.1, 0.5), (0.8, 0.1, 0.1)
ROWS = [row([None, 18], BRIGHT), row([18, 22], MIDDLE), row([22, None], FAINT)]


class TestRatios:
    def test_linear_between_centers_and_constant_beyond(self):
        prior = ClassPrior(table=ROWS)
        found = prior.ratios([5.0, 18.0, 19.0, 20.0, 21.5, 22.0, 30.0], np.zeros(7), CLASSES)
        bright, middle, faint = map(np.array, (BRIGHT, MIDDLE, FAINT))
        expected = [bright, bright, (bright + middle) / 2, middle, 0.25 * middle + 0.75 * faint, faint, faint]
        np.testing.assert_allclose(found, expected)

    def test_without_interpolation_an_edge_belongs_to_the_fainter_bin(self):
        prior = ClassPrior(table=ROWS, interpolate="none")
        found = prior.ratios([17.999, 18.0, 21.9, 22.0], np.zeros(4), CLASSES)
        np.testing.assert_allclose(found, [BRIGHT, MIDDLE, MIDDLE, FAINT])

    def test_latitude(self):
        table = [
            row([None, 20], BRIGHT, abs_b=[0, 30]),
            row([None, 20], MIDDLE, abs_b=[30, 90]),
            row([20, None], MIDDLE, abs_b=[0, 30]),
            row([20, None], FAINT, abs_b=[30, 90]),
        ]
        found = ClassPrior(table=table).ratios([19.0, 19.0, 21.0, 19.0], [10.0, 80.0, 80.0, 37.5], CLASSES)
        between = 0.5 * np.array(BRIGHT) + 0.5 * np.array(MIDDLE)
        np.testing.assert_allclose(found, [BRIGHT, MIDDLE, FAINT, between])

    def test_order_of_classes_is_that_asked_for(self):
        found = ClassPrior(table=ROWS).ratios([10.0], [0.0], ("STAR", "GALAXY", "QSO"))
        np.testing.assert_allclose(found, [[0.9, 0.1, 0.0]])

    def test_missing_magnitude_or_latitude(self):
        prior = ClassPrior(table=ROWS)
        assert np.isnan(prior.ratios([np.nan], [5.0], CLASSES)).all()
        # With one range of latitude it does not count.
        np.testing.assert_allclose(prior.ratios([10.0], [np.nan], CLASSES), [BRIGHT])

    def test_rounded_ratios_are_normalised(self):
        prior = ClassPrior(table=[{"ratio": {"A": 0.333, "B": 0.333, "C": 0.333}}])
        np.testing.assert_allclose(prior.ratios([20.0], [0.0], ("A", "B", "C")).sum(), 1)

    def test_apply(self):
        prior = ClassPrior(table=ROWS)
        p = np.array([[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]])
        changed, applied = prior.apply(p, ratio(0.5, 0.25, 0.25), [30.0, np.nan], [0.0, 0.0])
        expected = np.array([0.5 * 0.8 / 0.5, 0.2 * 0.1 / 0.25, 0.3 * 0.1 / 0.25])
        np.testing.assert_allclose(changed, [expected / expected.sum(), p[1]])
        np.testing.assert_array_equal(applied, [True, False])


class TestErrors:
    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ([row([None, None], (0.5, 0.2, 0.2))], "sums to 0.9, not to 1"),
            (ROWS[:2], "no row covers magnitude 22 to inf"),
            (ROWS[1:], "no row covers magnitude -inf to 18"),
            ([ROWS[0], ROWS[2]], "no row covers magnitude 18 to 22"),
            ([*ROWS, row([17, 19], BRIGHT)], "ranges of magnitude overlap at 17 to 18"),
            ([*ROWS, ROWS[0]], "more than one row for magnitude -inf to 18"),
            ([row([None, None], BRIGHT, abs_b=[0, 60])], r"no row covers \|b\| 60 to 90"),
            ([row([None, None], BRIGHT, abs_b=[0, 95])], "no range within 0 to 90"),
            ([row([22, 18], BRIGHT)], "the brighter end comes first"),
            ([ROWS[0], {"mag": [18, None], "ratio": {"STAR": 1.0, "GALAXY": 0.0}}], "same classes"),
            (
                [row([None, None], BRIGHT, abs_b=[0, 30]), row([None, 20], FAINT, abs_b=[30, 90])],
                "ranges of magnitude overlap",
            ),
            (
                [row([None, 20], BRIGHT, abs_b=[0, 30]), row([20, None], FAINT, abs_b=[30, 90])],
                r"no row for magnitude -inf to 20, \|b\| \[30.0, 90.0\]",
            ),
        ],
    )
    def test_incomplete_tables(self, table, message):
        with pytest.raises(ValidationError, match=message):
            ClassPrior(table=table)

    def test_classes_of_another_model(self):
        prior = ClassPrior(table=ROWS)
        with pytest.raises(ValueError, match="the model has no class 'QSO'; did you mean 'QSOS'"):
            prior.check_classes(("GALAXY", "QSOS", "STAR"))
        with pytest.raises(ValueError, match="no ratio for WD of the model"):
            prior.ratios([20.0], [0.0], (*CLASSES, "WD"))


class TestFiles:
    def written(self, tmp_path, **changes):
        columns = {
            "mag_min": np.ma.masked_invalid([np.nan, 18, 22]),
            "mag_max": np.ma.masked_invalid([18, 22, np.nan]),
            **{name: [r[k] for r in (BRIGHT, MIDDLE, FAINT)] for k, name in enumerate(CLASSES)},
        } | changes
        path = tmp_path / "ratios.ecsv"
        Table({k: v for k, v in columns.items() if v is not None}).write(path, overwrite=True)
        return path

    def test_same_as_in_place(self, tmp_path):
        assert ClassPrior.read(self.written(tmp_path)) == ClassPrior(table=ROWS)
        assert ClassPrior.read(self.written(tmp_path, mag_min=[-np.inf, 18, 22])) == ClassPrior(table=ROWS)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"mag_min": None, "Mag_Min": [0, 18, 22]}, "no column 'mag_min'; did you mean 'Mag_Min'"),
            ({"STAR": [0.9, 0.9, 0.1]}, r"ratios.ecsv: row 2: the ratio .* sums to 1.4"),
            ({"mag_max": [17.0, 22, 99]}, "no row covers magnitude 17 to 18"),
            ({"STAR": ["a", "b", "c"]}, "row 1: "),
        ],
    )
    def test_errors_name_file_and_row(self, tmp_path, changes, message):
        with pytest.raises(IngestError, match=message):
            ClassPrior.read(self.written(tmp_path, **changes))

    def test_no_such_file(self, tmp_path):
        with pytest.raises(IngestError, match=r"none.ecsv: cannot be read"):
            ClassPrior.read(tmp_path / "none.ecsv")


def test_galactic_latitude_is_that_of_astropy():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 50), np.degrees(np.arcsin(rng.uniform(-1, 1, 50)))
    np.testing.assert_allclose(galactic_latitude(ra, dec), SkyCoord(ra * u.deg, dec * u.deg).galactic.b.deg, atol=1e-4)
