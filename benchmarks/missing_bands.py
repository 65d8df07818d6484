"""A band missing, or an upper limit, in every evaluation row: photo-z beside HistGradientBoosting without that band.

    python benchmarks/missing_bands.py SOURCE.yaml [--band u] [--depths u=27.79 ...] [--train members=2 ...]

``SOURCE.yaml`` holds the ``catalog:`` block of a pipeline, with the evaluation file marked ``split: test``; all other
rows are trained on (a twentieth each validates and calibrates). The photo-z model is trained once, with the default
recipe, on all bands. It is then scored on the evaluation rows

- as they are,
- with the band missing in every row,
- with the band an upper limit in every row, of one depth for all: that at which the brightest row is just no detection,
- with the band an upper limit in every row, of a depth per row: drawn without regard to its flux (its logarithm uniform
  between the 1 % quantile of the errors of the training rows and the depth at which 99.9 % of their fluxes are no
  detections), with the noise of that depth, again and again until the row is no detection. A depth that was made of the
  flux of the row would give the flux away.

The trees are retrained on the training rows without the band, which is the best they can do with it. ``--depths`` makes
limits of what the catalog marks as missing: 1-sigma depths as AB magnitudes; the model is then trained and scored
twice, with these values missing and with these limits. Errors are those of 200 bootstrap samples; ``ours - trees`` is
paired.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from astrokeras import PhotoZ, metrics
from astrokeras.chunk import concatenate
from astrokeras.features.colors import magnitude_error
from astrokeras.fields import bands_of
from astrokeras.ingest.catalog import Catalog
from astrokeras.spec.nodes import plain, read_yaml
from astrokeras.split import assign, row_keys
from astrokeras.units import ab_to_njy, njy_to_ab

SEED = 1
NSIGMA = 5.0


def read(path):
    """Rows with a redshift of a catalog source, in the order of its files, and its bands."""
    problems = []
    node = read_yaml(str(Path(path)), problems)
    assert not problems, problems
    source = Catalog(**plain(node)["catalog"])
    bands = bands_of(source.fields())
    names = ["object_id", "z_spec", "split", *(f"{kind}_{band}" for band in bands for kind in ("flux", "flux_err"))]
    table = concatenate([source.read(p, names) for p in source.partitions(262_144)])
    return table[np.isfinite(table["z_spec"])], bands


def photometry(table, band):
    """Flux and error of a band in nJy."""
    return table[f"flux_{band}"].value.astype(float), table[f"flux_err_{band}"].value.astype(float)


def changed(table, band, error):
    """The table with the band an upper limit of the depth ``error``, or missing where that is NaN."""
    out = table.copy()
    out[f"flux_{band}"][:] = np.nan * out[f"flux_{band}"].unit
    out[f"flux_err_{band}"][:] = error.astype(np.float32) * out[f"flux_err_{band}"].unit
    return out


def with_depths(table, depths):
    """The table with upper limits where a band is missing."""
    out = table.copy()
    for band, magnitude in depths.items():
        missing = np.isnan(out[f"flux_{band}"].value)
        out[f"flux_err_{band}"][missing] = ab_to_njy(magnitude) * out[f"flux_err_{band}"].unit
    return out


def one_depth(test, band):
    """Depth at which no row is a detection, the same for all."""
    return np.full(len(test), np.nanmax(photometry(test, band)[0]) / NSIGMA)


def drawn_depths(train, test, band):
    """Depths per row; see the head of this file. A row that no draw hides has the shallowest."""
    rng = np.random.default_rng(SEED)
    seen, errors = photometry(train, band)
    low, high = np.log([np.nanquantile(errors, 0.01), np.nanquantile(seen, 0.999) / NSIGMA])
    flux, error = photometry(test, band)
    flux, error = np.where(np.isnan(flux), 0, flux), np.where(np.isnan(error), 0, error)
    depth, open_ = np.full(len(test), np.exp(high)), np.ones(len(test), bool)
    for _ in range(300):
        tried = np.exp(rng.uniform(low, high, len(test)))
        noise = np.sqrt(np.maximum(tried**2 - error**2, 0)) * rng.normal(size=len(test))
        hidden = open_ & (tried > error) & (flux + noise < NSIGMA * tried)
        depth[hidden] = tried[hidden]
        open_ &= ~hidden
    print(f"  drawn depths: {open_.sum()} of {len(test)} rows too bright for any; they have the shallowest")
    return depth


def trained(train, bands, recipe, directory):
    """Model of the training rows."""
    keys = {"object_id": row_keys([np.asarray(train["object_id"])])}
    train = train.copy()
    train["split"] = assign(keys, {"validate": 0.05, "calibrate": 0.05}, SEED).part
    return PhotoZ(bands=bands, train={"seed": SEED, **recipe}).fit(train, directory)


def trees(train, test, bands):
    """Redshifts of HistGradientBoosting on the given bands."""

    def inputs(table):
        flux, error = (np.stack(x, 1) for x in zip(*(photometry(table, b) for b in bands), strict=True))
        error = np.where(np.isnan(flux), np.nan, error)
        mag = njy_to_ab(flux)
        return np.concatenate([mag, mag[:, :-1] - mag[:, 1:], np.log(magnitude_error(flux, error))], axis=1)

    model = HistGradientBoostingRegressor(max_iter=500, learning_rate=0.06, early_stopping=True, random_state=SEED)
    return model.fit(inputs(train), np.asarray(train["z_spec"])).predict(inputs(test))


def told(name, z_phot, z_spec, scores=None):
    """Print one line of scores."""
    dz = metrics.residuals(z_phot, z_spec)
    errors = metrics.bootstrap_errors(dz, metrics.POINT, n=200, seed=0)
    said = [f"{key} {f(dz, axis=0):.5f} +- {errors[key]:.5f}" for key, f in metrics.POINT.items()]
    said += [f"{key} {np.mean(values):.4f}" for key, values in (scores or {}).items()]
    print(f"{name:34}", *said, flush=True)


def beside(z_phot, z_trees, z_spec):
    """Print the paired difference of our scores and those of the trees."""
    pairs = np.stack([metrics.residuals(z, z_spec) for z in (z_phot, z_trees)], axis=-1)
    rng = np.random.default_rng(0)
    drawn = [pairs[rng.integers(0, len(pairs), len(pairs))] for _ in range(200)]
    for key in ("sigma_nmad", "outlier_fraction"):
        score = metrics.POINT[key]
        difference = [score(d[:, 0], axis=0) - score(d[:, 1], axis=0) for d in (pairs, *drawn)]
        print(f"    ours - trees {key} {difference[0]:+.5f} +- {np.std(difference[1:], ddof=1):.5f}", flush=True)


def scored(stage, variants, z_trees, z_spec):
    """Print the scores of a model on the rows as they are, and as the variants have them."""
    card = stage.card()
    for name, table in variants.items():
        result = stage(table)
        z_phot = np.asarray(result["z_phot"], float)
        pdf = np.asarray(result["z_pdf"], float)
        found = metrics.pdf_scores(pdf, card.grid.nodes(), z_spec, z_phot)
        told(name, z_phot, z_spec, {key: found[key] for key in ("cde_loss", "crps", "log_likelihood")})
        if z_trees is not None and "as they are" not in name:
            beside(z_phot, z_trees, z_spec)


def main():
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--band", default="u")
    parser.add_argument("--depths", nargs="*", default=[], metavar="BAND=MAGNITUDE")
    parser.add_argument("--train", nargs="*", default=[], metavar="KEY=VALUE", help="other than the default recipe")
    parser.add_argument("--rows", type=int, help="training rows, drawn at random; a quarter of the others is scored")
    arguments = parser.parse_args()
    table, bands = read(arguments.source)
    depths = {band: float(value) for band, value in (item.split("=") for item in arguments.depths)}
    recipe = dict(item.split("=") for item in arguments.train)
    test, train = table[table["split"] == "test"], table[table["split"] != "test"]
    if arguments.rows:
        order = np.random.default_rng(SEED).permutation(len(train))
        train, test = train[order[: arguments.rows]], train[order[arguments.rows :]]
    z_spec = np.asarray(test["z_spec"], float)
    print(f"{len(train)} rows to train, {len(test)} to score, band {arguments.band}, seed {SEED}, {recipe}", flush=True)
    z_trees = trees(train, test, tuple(b for b in bands if b != arguments.band))
    told("trees with all bands", trees(train, test, bands), z_spec)
    told(f"trees retrained without {arguments.band}", z_trees, z_spec)
    gone = np.full(len(test), np.nan)
    for treatment in ({}, depths) if depths else ({},):
        print(f"what is missing in the catalog is {'an upper limit' if treatment else 'missing'}:")
        ours_train, ours_test = with_depths(train, treatment), with_depths(test, treatment)
        variants = {
            "rows as they are": ours_test,
            f"{arguments.band} missing": changed(ours_test, arguments.band, gone),
            f"{arguments.band} a limit, one depth": changed(ours_test, arguments.band, one_depth(test, arguments.band)),
            f"{arguments.band} a limit, drawn depths": changed(
                ours_test, arguments.band, drawn_depths(ours_train, ours_test, arguments.band)
            ),
        }
        with tempfile.TemporaryDirectory() as directory:
            stage = trained(ours_train, bands, recipe, directory)
            scored(stage, variants, z_trees, z_spec)


if __name__ == "__main__":
    main()
