"""
A field of images
=================

Given the images of a patch of sky in four filters, and redshifts of some of the galaxies on it: which objects are
there, how bright are they, what do they look like, how far away are they?

The images are simulated, so that everybody can run this page and compare with the truth. :doc:`/simulated_sky` says
how they are made and what they leave out. Images of SDSS, the Legacy Surveys, HSC, Pan-STARRS and others are read in the
same way, see :doc:`/images`.
"""

# %%
# Simulating the field
# --------------------
#
# 1024 pixels of 0.2 arcsec on a side, with the filters, the seeing and the depth of ten years of LSST.
# ``astrokeras simulate`` does the same on the command line.

from astrokeras.synthetic.sky import simulate

sky = simulate("field", size=1024, system="lsst", bands=["g", "r", "i", "z"], epochs=1, seed=3)

# %%
# Opening an image reads the headers only, and tells what was found in them:

from astrokeras.images.reader import open_image

opened = open_image(sky.image("i"))
print(f"layout {opened.layout}, band {opened.band}, {opened.pixel_scale:.2f} arcsec per pixel, unit {opened.unit}")
image = opened.read()
print(image.data.shape, "pixels;", f"{(image.mask != 0).sum()} of them masked")

# %%
# Pixels are in nJy, NaN where there is no data. A picture in colour shows what we have: r, i and z become blue, green
# and red.

import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import make_lupton_rgb

images = {band: open_image(sky.image(band)).read() for band in "griz"}


def in_color(blue, green, red):
    """Picture of three images in nJy; missing pixels are black."""
    return make_lupton_rgb(*(np.nan_to_num(data) for data in (red, green, blue)), stretch=40, Q=8)


fig = plt.figure(figsize=(6.5, 6.2), layout="constrained")
ax = fig.add_subplot(projection=image.wcs)
ax.imshow(in_color(images["g"].data, images["r"].data, images["i"].data), origin="lower")
ax.set(xlabel="right ascension", ylabel="declination", title="g, r, i")
plt.show()

# %%
# The bright star has saturated pixels, the bright galaxies show disks and bulges. The line without data is a dead
# column of the detector; such things have a mask, so that nothing takes them for light.
#
# Sky and seeing
# --------------
#
# How deep are the images, and how sharp? The source ``exposures`` makes one row of each image; stages that look at images
# add columns: ``background`` measures the sky and its noise beside the objects, ``psf`` the image of a star.

from astrokeras.features.background import Background
from astrokeras.features.psf import PSF
from astrokeras.ingest.exposures import Exposures

exposures = Exposures(files="field/sky-{band}-1.fits", bands=["g", "r", "i", "z"]).read_table()
exposures = PSF(size=31)(Background(box=128)(exposures))
exposures["band", "sky", "sky_sigma", "depth", "psf_fwhm"]
