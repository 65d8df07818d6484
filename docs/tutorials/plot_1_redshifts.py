"""
Photometric redshifts from a catalog
====================================

A survey measures the brightness of millions of galaxies through a few filters, and spectra of a few thousand of them.
A spectrum tells the redshift exactly; the colours tell it roughly. So we learn from the galaxies with a spectrum how
colours and redshift go together, and apply that to all the others: a *photometric redshift*.

This page does it twice: step by step in Python, and with one file that runs from the command line. It uses a
synthetic catalog, so that everybody can run it, and so that the true redshift of every galaxy is known.
"""

# %%
# The catalog
# -----------
#
# `Synthetic` makes galaxies with the filters, the depth and the errors of the SDSS. A source reads its rows piece by
# piece in a pipeline; ``read_table()`` gives them all as one astropy table.

import matplotlib.pyplot as plt
import numpy as np

from astrokeras import PhotoZ, Pipeline, Synthetic

galaxies = Synthetic(rows=8000, seed=1, system="sdss", classes={"galaxy": 1}).read_table()
galaxies["object_id", "ra", "dec", "flux_g", "flux_err_g", "flux_r", "flux_err_r", "z_spec"][:4]

# %%
# Fluxes are in nJy (a source of AB magnitude 31.4 has 1 nJy), each with its standard error. The same columns are made
# from the files of real surveys by *survey maps*, see :doc:`/survey_maps`.
#
# Why does it work? The spectrum of an old galaxy has a step at 4000 Angstrom. With redshift the step moves through
# the filters, and the galaxy is red first in g - r, then in r - i:

magnitude = {band: -2.5 * np.log10(np.maximum(galaxies[f"flux_{band}"].value, 1e-3)) + 31.4 for band in "gri"}
z_spec = galaxies["z_spec"]

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, sharey=True, layout="constrained")
for ax, (blue, red) in zip(axes, ["gr", "ri"], strict=True):
    ax.scatter(z_spec, magnitude[blue] - magnitude[red], s=2, c=magnitude["r"], cmap="viridis_r", vmin=17, vmax=21.5)
    ax.set(xlabel="redshift", ylabel=f"{blue} - {red} (AB mag)", xlim=(0, 0.8), ylim=(-0.2, 2.2))
fig.colorbar(axes[0].collections[0], ax=axes, label="r (AB mag)")
fig.suptitle("Colour and redshift of the synthetic galaxies")
plt.show()

# %%
# Training
# --------
#
# First of all some galaxies are set aside. The model never sees them, neither their redshifts nor their fluxes, so
# that they show how well it does on new ones. Here every fifth row will do; where one object can have several rows,
# or where you want folds, see ``split`` in :doc:`/pipeline_file`.

is_test = np.arange(len(galaxies)) % 5 == 0
train, test = galaxies[~is_test], galaxies[is_test]

# %%
# The recipe below is a small one, so that this page is made in a moment: one network, a few epochs, and two more
# networks on halves of the data, by which the densities are calibrated (``cross_fit``). Leave ``train={}`` for the
# default, which is made for real work.

recipe = {"members": 1, "width": 64, "epochs": 12, "cross_fit": 2, "seed": 1}
photoz = PhotoZ(bands=list("ugriz"), train=recipe).fit(train, "redshifts-tutorial/model")

# %%
# ``fit`` leaves a folder with the network and a *card*, which says on what the model was trained and how good it is.
# Any other session gets it by ``PhotoZ.from_pretrained("redshifts-tutorial/model")``.
#
# Applying it
# -----------
#
# A stage is called on a table and gives the table back, with its columns appended:

result = photoz(test)
result["object_id", "z_spec", "z_phot", "z_lo", "z_hi", "z_odds", "z_quality", "flags"][:5]

# %%
# ``z_phot`` is the median of the probability density p(z) of the redshift, ``z_lo`` and ``z_hi`` enclose 68 % of it,
# and ``flags`` would say if something was wrong with an object. :doc:`/photoz` has all columns. How good are they?
# The usual measures are those of dz = (z_phot - z_spec) / (1 + z_spec):

from astrokeras import metrics

z_spec, z_phot = np.asarray(result["z_spec"]), np.asarray(result["z_phot"])
trivial = np.full(len(z_spec), np.median(train["z_spec"]))
for name, estimate in {"photoz": z_phot, "always the median": trivial}.items():
    print(
        f"{name:18} bias {metrics.bias(estimate, z_spec):+.4f}  sigma_nmad {metrics.sigma_nmad(estimate, z_spec):.4f}  "
        f"outliers {100 * metrics.outlier_fraction(estimate, z_spec):.1f} %  (n = {len(z_spec)})"
    )

# %%
# The second line is what you get without looking at the galaxies; a method has to beat that first. Colours show which
# quality astrokeras gives an estimate, from 0 to 4, without knowing the truth:

fig, ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
points = ax.scatter(z_spec, z_phot, s=5, c=result["z_quality"], cmap="plasma_r", vmin=-0.5, vmax=4.5)
line = np.array([0, z_spec.max()])
ax.plot(line, line, "k-", lw=1)
for sign in (-1, 1):
    ax.plot(line, line + sign * 0.15 * (1 + line), "k:", lw=1)
ax.set(xlabel="true redshift", ylabel="photometric redshift z_phot", title="Galaxies that took no part in training")
ax.set(xlim=(0, 0.8), ylim=(0, 0.8))
fig.colorbar(points, label="z_quality (4 is best)", ticks=range(5))
plt.show()

# %%
# Dotted lines limit the outliers, \|dz\| > 0.15.
#
# Densities
# ---------
#
# One number hides what is not known. ``z_pdf`` holds p(z) on a grid, whose ends stand in the metadata of the column.
# Here are the galaxies with the largest, the median and the smallest ``z_odds``, the probability that the redshift is
# close to ``z_phot``:

ends = result["z_pdf"].info.meta
grid = np.linspace(ends["z_min"], ends["z_max"], result["z_pdf"].shape[1])
order = np.argsort(-np.asarray(result["z_odds"]))
fig, axes = plt.subplots(1, 3, figsize=(9, 3), sharex=True, layout="constrained")
for ax, row in zip(axes, order[[0, len(order) // 2, -1]], strict=True):
    ax.fill_between(grid, result["z_pdf"][row], alpha=0.4)
    ax.axvline(z_spec[row], color="k", lw=1, label="true redshift")
    ax.axvspan(result["z_lo"][row], result["z_hi"][row], color="C1", alpha=0.2, label="z_lo to z_hi")
    ax.set(xlabel="redshift", title=f"odds {result['z_odds'][row]:.2f}", xlim=(0, 1))
axes[0].set_ylabel("p(z)")
axes[0].legend(loc="upper right")
plt.show()

# %%
# Are the densities right? If so, the true redshift is as often in one tenth of the probability as in any other: the
# *PIT*, the probability below the true redshift, is distributed evenly.

pit = metrics.pit(np.asarray(result["z_pdf"]), grid, z_spec)
fig, ax = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
ax.hist(pit, bins=20, range=(0, 1), color="C0", alpha=0.6)
expected = len(pit) / 20
ax.axhline(expected, color="k", lw=1)
ax.axhspan(expected - np.sqrt(expected), expected + np.sqrt(expected), color="k", alpha=0.15)
ax.set(xlabel="PIT: probability below the true redshift", ylabel="galaxies per bin", xlim=(0, 1))
ax.set_title("Even within the noise (grey) if densities are right")
plt.show()

# %%
# The same as one file
# --------------------
#
# A *pipeline* says all of that in YAML: where rows come from, which stages they go through, what is written.
# ``split`` sets rows aside; the stage ``photoz`` has a ``train:`` block with the recipe from above (and, to save
# time, half of the galaxies).

from pathlib import Path

pipeline_file = Path("redshifts-tutorial/pipeline.yaml")
pipeline_file.write_text("""\
astrokeras: 1
name: redshifts
source:
  synthetic: {rows: 4000, seed: 1, system: sdss, classes: {galaxy: 1}}
split: {test: 0.2, validate: 0.1, calibrate: 0.1, seed: 1}
stages:
  - photoz:
      bands: [u, g, r, i, z]
      train: {members: 1, width: 64, epochs: 12, cross_fit: 2, seed: 1}
      save: "{here}/model-of-the-pipeline"
outputs:
  - votable: {path: "{here}/redshifts.vot", columns: [ids, positions, "z_*", split, flags], where: split == "test"}
  - evaluate: {path: "{here}/scores.json"}
""")
record = Pipeline.read(pipeline_file).run(work="redshifts-tutorial/work", quiet=True)

# %%
# On the command line that is ``astrokeras run redshifts-tutorial/pipeline.yaml``. A catalog of yours takes the place
# of the synthetic one by a change of the source, ``catalog: {files: my.fits, survey: sdss-casjobs}``, and a second
# run redoes only what has changed. Mistakes in the file are found before anything runs:

from astrokeras.errors import SpecError

try:
    Pipeline.read(pipeline_file, sets=["stages.photoz.train.epoch=20"])
except SpecError as error:
    print(error)

# %%
# The run printed the scores, with errors by bootstrap in brackets and the trivial method below. They are in a file,
# too:

import json

scores = json.loads(Path("redshifts-tutorial/scores.json").read_text())
for name in ("sigma_nmad", "outlier_fraction", "coverage"):
    print(name, scores["overall"][name])
