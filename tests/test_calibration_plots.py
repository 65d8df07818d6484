"""Pictures of a calibration."""

import json
import shutil

import numpy as np

from astrokeras.cli import main
from astrokeras.export.classified import Classified
from astrokeras.export.redshifts import Redshifts


def test_the_histogram_counts_cumulative_probabilities():
    rng = np.random.default_rng(1)
    pit = rng.uniform(size=1000)
    pit[:100] = np.nan
    nested = Redshifts("z_spec", "z_phot").nested({}, {"pit": pit, "z_spec": pit, "z_phot": pit})
    assert nested["n_pdf"] == sum(nested["pit_histogram"]) == 900
    assert nested["pit_histogram"][3] == np.sum((pit >= 0.15) & (pit < 0.2))


def test_reliability_is_the_fraction_right_per_bin():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.55, 0.45]])
    found = Classified(np.array([0, 1, 1, 0]), p.argmax(axis=1), p).reliability()
    # Fifteen bins: 0.55 is in number 8, 0.8 in 12 and 0.9 in 13.
    filled = {k: (found["n"][k], found["confidence"][k], found["accuracy"][k]) for k in range(15) if found["n"][k]}
    assert filled == {8: (1, 0.55, 1.0), 12: (1, 0.8, 1.0), 13: (2, 0.9, 0.5)}
    assert found["accuracy"][0] is None


def test_models_with_scores_beside_them_have_a_picture(small_model, tmp_path, capsys):
    shutil.copytree(small_model, tmp_path / "m")
    part = {"n": 400, "pit_histogram": [20] * 20, "low": 17.0, "high": 18.0}
    report = {"overall": part, "magnitude": {"column": "r (AB)", "bins": [part, part, part]}}
    (tmp_path / "m" / "evaluation.json").write_text(json.dumps(report))
    words = ["models", "plot", str(tmp_path / "m"), "--out", str(tmp_path / "out"), "--format", "svg"]
    assert main(words) == 0
    text = (tmp_path / "out" / "calibration.svg").read_text()
    assert text.count('id="axes_') == 6
    (tmp_path / "m" / "evaluation.json").write_text('{"overall": {}}')
    assert main(words) != 0
    assert "evaluation.json is damaged" in capsys.readouterr().err
