"""Redshifts of a product, their densities, intervals and cuts in quality against the truth, over all and by magnitude.

    python benchmarks/photoz_calibration.py PRODUCT.vot [--magnitude i] [--bins 5]

``PRODUCT.vot`` is what a pipeline with ``photoz`` wrote: ``z_spec``, ``z_*`` with ``z_pdf``, and ``flux_<band>``; where
it has a column ``split`` the rows ``test`` are scored. Bins of magnitude hold equally many objects, the brightest
first. Definitions are those of `astrokeras.metrics`. The last line of the first table is the median redshift of the
scored rows as the redshift of every object, and the distribution of theirs as its density.

``p`` is the p-value of the Kolmogorov-Smirnov test of the PIT against uniform, and ``SE`` the distance of a coverage
from what is promised in binomial standard errors: both take the objects for independent. Objects of one patch of sky
are not: they share its zero points and its clusters of galaxies. Where the product has ``flux_err_<band>``, and these
tell patches apart, ``p patch`` and ``SE patch`` allow for that. The first is a randomisation test: the deviation of the
cumulative PIT from uniform is added up over patches with random signs, and p is how often its largest value exceeds the
one found (a wild cluster bootstrap that imposes the null, Cameron, Gelbach & Miller 2008); the second has the standard
error of a sum over patches.
"""

import argparse
import sys

import numpy as np
from astropy.io import votable
from scipy.stats import kstest

from astrokeras import metrics
from astrokeras.tasks.patches import patches

FOLDS = 5
DRAWS = 9999
LEVELS = np.linspace(0, 1, 201)[1:-1]


def read(path):
    """Table of a product, rows scored only, and the grid of its densities."""
    file = votable.parse(path)
    table = file.get_first_table().to_table(use_names_over_ids=True)
    ends = {item.name: item.value for item in file.iter_fields_and_params() if hasattr(item, "value")}
    grid = np.linspace(float(ends["z_min"]), float(ends["z_max"]), table["z_pdf"].shape[1])
    rows = np.isfinite(dense(table["z_spec"])) & np.isfinite(dense(table["z_phot"]))
    if "split" in table.colnames:
        rows &= np.asarray(table["split"]).astype(str) == "test"
    return table[rows], grid


def dense(column):
    """Floats, NaN where masked."""
    return np.ma.filled(np.ma.asarray(column, float), np.nan)


def patches_of(table):
    """Patch of each row, or None."""
    bands = [name.removeprefix("flux_err_") for name in table.colnames if name.startswith("flux_err_")]
    if not bands:
        return None
    error = np.stack([dense(table[f"flux_err_{band}"]) for band in bands], axis=1)
    known = error > 0
    return patches({"flux_err": np.where(known, error, 0), "observed": known}, FOLDS)


def sums(values, patch):
    """Sums over patches, ``(patches, ...)``."""
    return np.stack([values[patch == k].sum(axis=0) for k in np.unique(patch)])


def p_patches(pit, patch):
    """P-value of the PIT that allows for patches; see the head of this file."""
    parts = sums((pit[:, None] <= LEVELS) - LEVELS, patch)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, len(parts)))
    drawn = np.abs(signs @ parts).max(axis=1)
    return (1 + np.sum(drawn >= np.abs(parts.sum(axis=0)).max() - 1e-9)) / (1 + DRAWS)


def coverage(table, promised, patch):
    """Coverage of the conformal interval, with its distance from the promise in two kinds of standard errors."""
    low, high = (dense(table[f"z_{end}{round(100 * promised)}"]) for end in ("lo", "hi"))
    z = dense(table["z_spec"])
    inside = (z >= low) & (z <= high)
    off = inside.mean() - promised
    said = f"{inside.mean():.3f} ({off / np.sqrt(promised * (1 - promised) / len(z)):+.1f})"
    if patch is not None:
        said += f" ({off / (np.sqrt(np.sum(sums(inside - promised, patch) ** 2)) / len(z)):+.1f} patch)"
    return said


def point_line(name, z_phot, scores, z):
    """Print point estimates, with bootstrap errors, and scores of densities, with standard errors."""
    dz = metrics.residuals(z_phot, z)
    errors = metrics.bootstrap_errors(dz, metrics.POINT, n=200, seed=0)
    said = [f"{key} {f(dz, axis=0):.5f} +- {errors[key]:.5f}" for key, f in metrics.POINT.items()]
    said += [
        f"{short} {scores[key].mean():.4f} +- {scores[key].std(ddof=1) / np.sqrt(len(z)):.4f}"
        for short, key in (("CDE", "cde_loss"), ("CRPS", "crps"), ("LL", "log_likelihood"))
    ]
    print(f"{name:10} n = {len(z)}", *said, sep="  ", flush=True)


def calibration_line(name, table, pit, patch):
    """Print the distance of the PIT from uniform, and the coverages."""
    said = f"{name:10} PIT KS {metrics.pit_ks(pit):.4f}  p {kstest(pit, 'uniform').pvalue:.5f}"
    if patch is not None:
        said += f"  p patch {p_patches(pit, patch):.4f}"
    if "z_lo68" in table.colnames:
        said += "".join(f"  {promised:.0%} {coverage(table, promised, patch)}" for promised in (0.68, 0.95))
    print(said, flush=True)


def quality_lines(table, faint):
    """Print what each cut in quality keeps."""
    quality, z_phot, z = np.asarray(table["z_quality"]), dense(table["z_phot"]), dense(table["z_spec"])
    for cut in range(5):
        kept = quality >= cut
        print(
            f"z_quality >= {cut}  keeps {kept.mean():.3f}, of the faintest bin {kept[faint].mean():.3f}"
            f"  sigma_nmad {metrics.sigma_nmad(z_phot[kept], z[kept]):.4f}"
            f"  outliers {metrics.outlier_fraction(z_phot[kept], z[kept]):.4%}"
        )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("product")
    parser.add_argument("--magnitude", default="i", metavar="BAND")
    parser.add_argument("--bins", type=int, default=5)
    asked = parser.parse_args()
    table, grid = read(asked.product)
    pdf, z, z_phot = dense(table["z_pdf"]), dense(table["z_spec"]), dense(table["z_phot"])
    scores, patch = metrics.pdf_scores(pdf, grid, z, z_phot), patches_of(table)
    order = np.argsort(-dense(table[f"flux_{asked.magnitude}"]), kind="stable")
    parts = {"all": np.arange(len(z)), **{f"{asked.magnitude} {k}": rows for k, rows in binned(order, asked.bins)}}
    print(f"patches: {'none told apart' if patch is None else len(np.unique(patch))}")
    for name, rows in parts.items():
        point_line(name, z_phot[rows], {k: v[rows] for k, v in scores.items()}, z[rows])
    marginal = np.histogram(z, bins=np.linspace(grid[0], grid[-1], len(grid) + 1), density=True)[0]
    trivial = metrics.pdf_scores(np.broadcast_to(marginal, pdf.shape), grid, z, np.full(len(z), np.median(z)))
    point_line("trivial", np.full(len(z), np.median(z)), trivial, z)
    for name, rows in parts.items():
        calibration_line(name, table[rows], scores["pit"][rows], None if patch is None else patch[rows])
    if "z_quality" in table.colnames:
        quality_lines(table, parts[f"{asked.magnitude} {asked.bins}"])


def binned(order, bins):
    """Number and rows of each bin."""
    return enumerate(np.array_split(order, bins), start=1)


if __name__ == "__main__":
    sys.exit(main())
