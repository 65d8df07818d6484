"""The models that come along: found by name, replayed, small, and with a card that says what they are."""

import json

import numpy as np
import pytest

from astrokeras import Classify, PhotoZ
from astrokeras.cli import main
from astrokeras.flags import Flag
from astrokeras.models.card_file import read_card
from astrokeras.models.library import find
from astrokeras.resources import PACKAGE
from astrokeras.synthetic.catalog import Synthetic

SHELF = PACKAGE / "pretrained"
NAMES = ("boss-photoz", "lsst-photoz", "sdss-starqso", "atlas-wise-starqso")


def test_these_come_along_and_are_small():
    assert {path.parent.parent.name for path in SHELF.glob("*/*/card.json")} == set(NAMES)
    assert sum(path.stat().st_size for path in SHELF.rglob("*") if path.is_file()) < 15e6


@pytest.mark.parametrize("name", NAMES)
def test_golden_rows_are_replayed(name, capsys):
    assert main(["models", "verify", f"{name}@1"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_it_is(name):
    card = read_card(find(f"{name}@1.0.0"))
    assert (card.name, card.version) == (name, "1.0.0")
    assert len(card.description) > 100
    assert card.licence
    assert card.training.source["files"]
    assert card.training.counts["train"] > 5000
    assert card.scores_domain
    report = json.loads((find(name) / "evaluation.json").read_text())
    assert report["overall"]["n"] > 2000
    better, worse = ("log_loss", "log_loss") if card.task == "classify" else ("sigma_nmad", "sigma_nmad")
    assert report["overall"][better]["value"] < 0.5 * report["baseline"][worse]


def test_a_name_is_all_that_is_needed():
    source = Synthetic(rows=400, seed=3, system="sdss")
    table = source.read(next(iter(source.partitions(400))), [f.name for f in source.fields()])
    classes = Classify(model="sdss-starqso", override=("dereddened",))(table)
    assert set(np.asarray(classes["class_label"])) <= {"STAR", "GALAXY", "QSO"}
    redshifts = PhotoZ(model="boss-photoz", pdf=False, override=("photometry", "dereddened"))(table)
    assert np.isfinite(redshifts["z_phot"]).all()
    # Stars and blue galaxies are no luminous red ones.
    assert np.mean((np.asarray(redshifts["flags"]) & Flag.OUT_OF_DOMAIN) > 0) > 0.3
