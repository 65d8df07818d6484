"""
A field of images
=================

Given the images of a patch of sky in four filters, and redshifts of some of the galaxies on it: which objects are
there, how bright are they, what do they look like, how far away are they?

The images are simulated, so that everybody can run this page and compare with the truth. :doc:`/simulated_sky` says
how they are made and what they leave out. Images of SDSS, the Legacy Surveys, HSC, Pan-STARRS and others are read in
the same way, see :doc:`/images`.
"""

# %%
# Simulating the field
# --------------------
#
# 512 pixels of 0.2 arcsec on a side, with the filters, the seeing and the depth of ten years of LSST. ``astrokeras
# simulate`` does the same on the command line. The images lie in the folder ``field-tutorial/sky``, one file per
# filter, and beside them a catalog with the truth.

from astrokeras.synthetic.sky import simulate

sky = simulate("field-tutorial/sky", size=512, system="lsst", bands=["g", "r", "i", "z"], epochs=1, seed=3)

# %%
# Opening an image reads the headers only, and tells what was found in them:

from astrokeras.images.reader import open_image

opened = open_image(sky.image("i"))
print(f"layout {opened.layout}, band {opened.band}, {opened.pixel_scale:.2f} arcsec per pixel, unit {opened.unit}")
image = opened.read()
print(image.data.shape, "pixels;", f"{(image.mask != 0).sum()} of them masked")

# %%
# Pixels are in nJy, NaN where there is no data. A picture in colour shows what we have:

import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import make_lupton_rgb


def in_color(g, r, i, stretch=25):
    """Picture of three images in nJy, the reddest as red; missing pixels are black."""
    with np.errstate(invalid="ignore"):
        return make_lupton_rgb(*(np.nan_to_num(np.asarray(data)) for data in (i, r, g)), stretch=stretch, Q=8)


picture = in_color(*(open_image(sky.image(band)).read().data for band in "gri"))
fig = plt.figure(figsize=(6.2, 5.8), layout="constrained")
ax = fig.add_subplot(projection=image.wcs)
ax.imshow(picture, origin="lower")
ax.set(xlabel="right ascension", ylabel="declination", title="The field in g, r and i, 1.7 arcmin on a side")
plt.show()

# %%
# The brightest star has saturated pixels, the column without light is a fault of the detector. Such pixels are marked
# in the mask of an image, so that nothing takes them for the sky.
#
# Sky and seeing
# --------------
#
# How deep are the images, and how sharp? The source ``exposures`` makes one row of each image; stages that look at
# images add columns: ``background`` measures the sky and its noise between the objects, ``psf`` the image of a star.

from astrokeras import PSF, Background, Exposures

exposures = Exposures(files="field-tutorial/sky/sky-{band}-1.fits", bands=["g", "i"]).read_table()
exposures = PSF(size=31)(Background(box=128)(exposures))
exposures["band", "sky", "sky_rms", "depth", "psf_fwhm", "psf_stars"]

# %%
# ``depth`` is the magnitude at which a source has five times the noise in a circle of 2 arcsec. The simulation had a
# seeing of 0.87 arcsec in g and 0.80 in i.
#
# From images to a catalog
# ------------------------
#
# Now all the rest, in one pipeline. Read it from top to bottom: each line adds columns to one table with a row per
# object.
#
# - The source ``images`` finds objects in r and i, and measures them in all four bands.
# - ``crossmatch`` looks each object up in another catalog, here the truth of the simulation; of a real field it would
#   be a catalog of spectra. It brings the redshift, and says what is an accident among the matches.
# - ``cutouts`` cuts a stamp out of the images around each object, ``shapes`` and ``hog`` measure its form.
# - ``photoz`` is trained on the objects that have a redshift, apart from those that ``split`` sets aside as a test,
#   and then estimates it for all. The size of an object, ``half_light_radius``, says something about its distance,
#   too.
# - The outputs: a VOTable, a region file to lay over the image, and a page to look at.

from pathlib import Path

from astrokeras import Pipeline

pipeline_file = Path("field-tutorial/field.yaml")
pipeline_file.write_text("""\
astrokeras: 1
name: field
vars: {images: "{here}/sky/sky-{band}-1.fits"}
source:
  images: {files: "{images}", bands: [g, r, i, z], detect: [r, i], threshold: 3}
split: {test: 0.3, validate: 0.1, calibrate: 0.1, seed: 1}
stages:
  - crossmatch:
      catalog:
        files: "{here}/sky/truth.fits"
        hdu: OBJECTS
        survey: {object_id: object_id, position: {ra: ra, dec: dec}, z_spec: z_spec, class_true: class_true}
        keep: {r_half: {unit: arcsec}, flux_true_i: {unit: nJy}}
        where: flux_true_i > 50
      radius: 0.6
      bring: [z_spec, class_true, r_half, flux_true_i]
  - cutouts: {images: "{images}", bands: [g, r, i], size: 48 pix, pixel_scale: 0.2}
  - shapes: {bands: [i], pixel_scale: 0.2}
  - hog: {size: 48, bands: [i]}
  - photoz:
      bands: [g, r, i, z]
      extra: [half_light_radius]
      train: {members: 1, width: 32, depth: 1, epochs: 60, cross_fit: 0, seed: 1}
      save: "{here}/model"
outputs:
  - votable: {path: "{here}/field.vot"}
  - regions: {path: "{here}/field.reg", shape: ellipse, major: semi_major, minor: semi_minor, angle: theta, scale: 2}
  - report:
      path: "{here}/report.html"
      images: ["{here}/sky/sky-g-1.fits", "{here}/sky/sky-r-1.fits", "{here}/sky/sky-i-1.fits"]
""")
record = Pipeline.read(pipeline_file).run(work="field-tutorial/work", quiet=True)

# %%
# On the command line that is ``astrokeras run field-tutorial/field.yaml``.
#
# What was found
# --------------

from astropy.table import QTable

objects = QTable.read("field-tutorial/field.vot")
objects["object_id", "ra", "dec", "flux_total_i", "flux_err_total_i", "half_light_radius", "class_true", "flags"][:5]

# %%
# Every object found stays in the table; ``flags`` are bits that say what is wrong with it, see
# :doc:`/generated/flags`. Did we find what is there, and are the fluxes right? The truth tells:

truth = sky.read_table(["flux_true_i", "class_true"])
true_mag = -2.5 * np.log10(truth["flux_true_i"].value) + 31.4
found_mag = -2.5 * np.log10(objects["flux_true_i"].value) + 31.4
measured_mag = -2.5 * np.log10(objects["flux_total_i"].value) + 31.4

fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.6), layout="constrained")
bins = np.arange(18, 28.1, 0.5)
left.hist(true_mag, bins, color="0.8", label="in the field")
left.hist(found_mag[np.isfinite(found_mag)], bins, color="C0", label="found")
left.set(xlabel="true i (AB mag)", ylabel="objects", title="What is found")
left.legend(loc="upper left")
star = np.asarray(objects["class_true"]) == "STAR"
for chosen, color, label in ((~star, "C0", "galaxies, quasars"), (star, "C1", "stars")):
    right.scatter(found_mag[chosen], (measured_mag - found_mag)[chosen], s=8, color=color, label=label)
right.axhline(0, color="k", lw=1)
right.set(xlabel="true i (AB mag)", ylabel="measured - true (mag)", ylim=(-1, 1), title="Total flux")
right.legend(loc="lower left")
plt.show()

# %%
# The images go deeper than what was found: ``threshold: 3`` is a cautious choice, which keeps this page fast. Points
# far off are blends, most of which have the flag ``BLENDED``. :doc:`/injection` shows how to measure completeness and
# bias on images of your own, where there is no truth.
#
# Stamps
# ------
#
# The VOTable has no stamps, which would be many bytes. A stage works on any table with positions, so we cut them
# again:

from astrokeras import Cutouts

cutouts = Cutouts(images="field-tutorial/sky/sky-{band}-1.fits", bands=["g", "r", "i"], size="48 pix", pixel_scale=0.2)
objects = cutouts(objects)


def show(rows, titles, caption):
    """Stamps of some rows."""
    fig, axes = plt.subplots(1, len(rows), figsize=(9.4, 1.75), layout="constrained")
    for ax, row, title in zip(axes, rows, titles, strict=True):
        ax.imshow(in_color(*np.moveaxis(objects["stamp"][row].value, -1, 0)), origin="lower")
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=8)
    fig.suptitle(caption, fontsize=9)
    plt.show()


from astrokeras.flags import Flag

spoilt = Flag.SATURATED | Flag.EDGE_STAMP | Flag.TRUNCATED
usable = (np.asarray(objects["flags"]) & spoilt == 0) & (np.asarray(objects["snr"]) > 30)
galaxies = np.flatnonzero(usable & (np.asarray(objects["class_true"]) == "GALAXY"))
brightest = galaxies[np.argsort(measured_mag[galaxies])]
titles = [f"i = {measured_mag[row]:.1f}" for row in brightest[:8]]
show(brightest[:8], titles, "The brightest galaxies that lie within their stamps, 9.6 arcsec on a side")

# %%
# Shapes
# ------
#
# ``shapes`` measured radii, concentration, asymmetry and more, on the image as it is. So the seeing is part of them:
# small galaxies look larger than they are, and rounder. Where a measurement is doubtful, as for faint galaxies or
# those with a close neighbour, the flag ``BAD_SHAPE`` is set; the value is there all the same.

suspect = np.asarray(objects["flags"])[galaxies] & Flag.BAD_SHAPE != 0
fig, ax = plt.subplots(figsize=(4.8, 3.8), layout="constrained")
true_radius, radius = (np.asarray(objects[name])[galaxies] for name in ("r_half", "r50_i"))
ax.scatter(true_radius[suspect], radius[suspect], s=14, facecolors="none", edgecolors="0.6", label="BAD_SHAPE")
points = ax.scatter(true_radius[~suspect], radius[~suspect], c=measured_mag[galaxies][~suspect], s=14, cmap="viridis_r")
ax.legend(loc="upper right")
ax.plot([0.1, 3], [0.1, 3], "k-", lw=1)
ax.axhline(0.4, color="k", ls=":", lw=1)
ax.set(xscale="log", yscale="log", xlabel="true half-light radius (arcsec)", ylabel="measured, r50_i (arcsec)")
ax.set_title("Half-light radii of galaxies; dotted: half of the seeing", fontsize=10)
fig.colorbar(points, label="i (AB mag)")
plt.show()

# %%
# ``hog``, histograms of oriented gradients, tells in which directions the light rises, cell by cell of 8 pixels: a
# vector of 900 numbers, made for models more than for people. In the middle of the stamp one can still read it. The
# light of an elongated galaxy rises mostly across its long side, that of a round one in all directions:

hog = np.asarray(objects["hog"]).reshape(len(objects), 5, 5, 2, 2, 9)  # blocks (y, x), cells (y, x), orientations
middle = hog[:, 2, 2].sum(axis=(1, 2))
bright = brightest[:20]
order = bright[np.argsort(-objects["ellipticity"][bright])]

fig, axes = plt.subplots(1, 4, figsize=(9.4, 2.5), width_ratios=[1, 1.4, 1, 1.4], layout="constrained")
for (left, right), row in zip((axes[:2], axes[2:]), (order[0], order[-1]), strict=True):
    left.imshow(in_color(*np.moveaxis(objects["stamp"][row].value, -1, 0)), origin="lower")
    left.set(xticks=[], yticks=[])
    left.set_title(f"ellipticity {objects['ellipticity'][row]:.2f}", fontsize=9)
    right.bar(np.arange(10, 180, 20), middle[row], width=18)
    right.set(xlabel="direction in the image (deg)", ylabel="gradients", xticks=range(0, 181, 45), ylim=(0, 1.6))
plt.show()

# %%
# Redshifts
# ---------
#
# Black points took no part in training:

z_spec, z_phot = np.asarray(objects["z_spec"]), np.asarray(objects["z_phot"])
is_test = np.asarray(objects["split"]) == "test"
fig, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
for chosen, color, label in ((~is_test, "0.7", "others"), (is_test, "k", "test")):
    errors = np.abs(np.stack([objects["z_lo"], objects["z_hi"]]) - z_phot)[:, chosen]
    ax.errorbar(z_spec[chosen], z_phot[chosen], errors, fmt=".", color=color, lw=0.6, label=label)
ax.plot([0, 3], [0, 3], "k-", lw=1)
ax.set(xlabel="true redshift", ylabel="z_phot, with 68 % interval", xlim=(0, 3), ylim=(0, 3))
ax.legend()
plt.show()

# %%
# They are not good, and say so by their error bars: four filters, and a hundred galaxies to learn from, where it
# takes thousands. :doc:`plot_1_redshifts` has more of them. The wide field of a survey gives a training sample; a
# model from there is applied by ``photoz: {model: ...}``.
#
# The page
# --------
#
# The report that the pipeline wrote is one file that can be sent to a colleague:
#
# .. raw:: html
#
#    <iframe src="field-report.html" style="width: 100%; height: 600px; border: 1px solid #888"></iframe>
