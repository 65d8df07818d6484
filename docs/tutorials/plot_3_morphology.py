"""
Morphology
==========

A galaxy that shows spiral arms, a bar, or nothing but a smooth glow has told a good part of its history. People see
the difference at a glance, but there are too many galaxies to look at. So some thousands are classified by eye, and a
network learns from these.

Here the network learns from simulated galaxies, whose types are known because we made them.

.. warning::

   Scores on a simulation are not scores on the sky. Simulated galaxies have no dust lanes, mergers or neighbours, and
   the spiral arms are drawn with a ruler, so to speak. This page shows how it is done; :doc:`/morphology` says how
   well it works on real galaxies. Train for a survey on that survey.
"""

# %%
# The galaxies
# ------------
#
# `galaxy_stamps` makes small images, *stamps*, as LSST would take them. Of your own galaxies the stage ``cutouts``
# cuts stamps out of survey images, and the source ``stamps`` reads a folder with one file per galaxy, see
# :doc:`/cutouts`. We take galaxies that are larger than the seeing and smaller than the stamp.

import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import make_lupton_rgb

from astrokeras.synthetic.galaxies import galaxy_stamps

galaxies = galaxy_stamps(1400, size=48, system="lsst", bands=["g", "r", "i"], mag=(16.5, 19), seed=1)
radius = galaxies["r_half"].to_value("arcsec")
galaxies = galaxies[(radius > 0.7) & (radius < 3)]
galaxies["object_id", "morphology_true", "z_spec", "mag", "r_half"][:4]

# %%
# The column ``stamp`` has cells (y, x, band): 48 by 48 pixels in g, r, i, in nJy.

print(galaxies["stamp"].shape, galaxies["stamp"].unit, galaxies["stamp"].info.meta)

# %%
# One row of pictures for each type:

CLASSES = ["elliptical", "lenticular", "spiral", "barred", "edge-on", "irregular"]


def show(ax, stamp, title=""):
    """Draw a stamp in colour, brightness scaled to its own."""
    g, r, i = np.moveaxis(np.asarray(stamp), -1, 0)
    with np.errstate(invalid="ignore"):
        ax.imshow(make_lupton_rgb(i, r, g, stretch=0.15 * r.max(), Q=6), origin="lower")
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, fontsize=8)


truth = np.asarray(galaxies["morphology_true"])
fig, axes = plt.subplots(len(CLASSES), 8, figsize=(8, 6.4), layout="constrained")
for row, name in zip(axes, CLASSES, strict=True):
    for ax, k in zip(row, np.flatnonzero(truth == name), strict=False):
        show(ax, galaxies["stamp"][k].value)
    row[0].set_ylabel(f"{name}\n{(truth == name).mean():.0%}", fontsize=8)
fig.suptitle("Simulated galaxies, 9.6 arcsec on a side; percentages are shares of the sample")
plt.show()

# %%
# Some are easy, some are not: a lenticular is an elliptical with a disk, and a barred galaxy seen from the side has
# no visible bar. The network cannot do better than the picture allows.
#
# Training
# --------
#
# A quarter of the galaxies is set aside first. Then a small convolutional network is trained for a few epochs: enough
# to see it work, and little against the default recipe (``train={"target": ...}``), which has larger networks, more
# of them, and takes minutes.

from astrokeras import Morphology

is_test = np.arange(len(galaxies)) % 4 == 0
train, test = galaxies[~is_test], galaxies[is_test]

recipe = {
    "target": "morphology_true",
    "members": 1,
    "epochs": 14,
    "learning_rate": 4e-3,
    "seed": 1,
    "stamp": {"size": 32, "widths": [12, 24, 48], "blur_rate": 0, "mask_rate": 0},
}
morphology = Morphology(stamps="stamp", classes=CLASSES, train=recipe).fit(train, "morphology-tutorial/model")

# %%
# In training every galaxy comes turned by another angle, mirrored, shifted and with more noise, so that the network
# does not learn a thousand galaxies by heart. In use the mean over the eight orientations of a stamp is taken.
#
# What it says
# ------------

result = morphology(test)
result["object_id", "morphology_true", "class_label", "p_elliptical", "p_spiral", "p_barred", "class_entropy"][:5]

# %%
# ``class_label`` is the most probable class; ``p_...`` are the probabilities. Pictures of what it is sure of, and of
# what it is not (large ``class_entropy``), with label and probability, and the truth in brackets where they differ:

label, truth = np.asarray(result["class_label"]), np.asarray(result["morphology_true"])
p = np.stack([result[f"p_{name.replace('-', '_')}"] for name in CLASSES], axis=1)
order = np.argsort(result["class_entropy"])
fig, axes = plt.subplots(4, 8, figsize=(8.6, 5.2), layout="constrained")
for ax, k in zip(axes.flat, [*order[:16], *order[:-17:-1]], strict=True):
    title = f"{label[k]} {p[k].max():.0%}" + (f"\n({truth[k]})" if label[k] != truth[k] else "")
    show(ax, result["stamp"][k].value, title)
fig.suptitle("Rows 1 and 2: the most certain galaxies. Rows 3 and 4: the least certain")
plt.show()

# %%
# How good it is
# --------------
#
# The confusion matrix counts, for each true class, what the galaxies were called:

counts = np.array([[np.sum((truth == a) & (label == b)) for b in CLASSES] for a in CLASSES])
fig, ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
picture = ax.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
for (y, x), n in np.ndenumerate(counts):
    ax.text(x, y, n, ha="center", va="center", color="white" if n > 0.5 * counts[y].sum() else "black")
ax.set_xticks(range(len(CLASSES)), CLASSES, rotation=30, ha="right")
ax.set_yticks(range(len(CLASSES)), CLASSES)
ax.set(xlabel="label", ylabel="true class", title=f"{len(truth)} galaxies that took no part in training")
fig.colorbar(picture, label="fraction of the true class")
plt.show()

# %%
# In numbers, beside the method that looks at nothing and always says the most frequent class:

names, frequent = np.unique(train["morphology_true"], return_counts=True)
for name, said in {"morphology": label, "most frequent class": np.full(len(truth), names[frequent.argmax()])}.items():
    right = said == truth
    balanced = np.mean([right[truth == kind].mean() for kind in CLASSES])
    error = np.sqrt(right.mean() * (1 - right.mean()) / len(right))
    print(f"{name:20} accuracy {right.mean():.3f} +- {error:.3f}, mean over classes {balanced:.3f} (n = {len(right)})")

# %%
# Again: this is an accuracy on cartoons, from a network that was trained on cartoons of the same kind. On real
# galaxies labels are uncertain, too, and expect lower numbers.
#
# Are the probabilities right?
# ----------------------------
#
# Of the galaxies with a probability of 70 %, 70 % should be right:

best = p.max(axis=1)
edges = np.quantile(best, np.linspace(0, 1, 7))
group = np.clip(np.searchsorted(edges, best, side="right") - 1, 0, 5)
mean = [best[group == k].mean() for k in range(6)]
right = [(label == truth)[group == k].mean() for k in range(6)]
error = [np.sqrt(max(r * (1 - r), 0.01) / np.sum(group == k)) for k, r in enumerate(right)]
fig, ax = plt.subplots(figsize=(4.4, 4.0), layout="constrained")
ax.plot([0.2, 1], [0.2, 1], "k-", lw=1)
ax.errorbar(mean, right, yerr=error, fmt="o")
ax.set(xlabel="probability of the label", ylabel="fraction that is right", title="Calibration, six groups")
plt.show()

# %%
# The same as one file
# --------------------
#
# ``pipelines/morphology-train.yaml`` trains on a folder of stamps with labels, ``pipelines/morphology-apply.yaml``
# applies what was trained. The model of this page is used in any pipeline with stamps of the same size and bands by
#
# .. code-block:: yaml
#
#    stages:
#      - cutouts: {images: "images/{band}.fits", bands: [g, r, i], size: 48 pix, pixel_scale: 0.2}
#      - morphology: {model: morphology-tutorial/model, stamps: stamp}
