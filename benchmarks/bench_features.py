"""Features of stamps beside the libraries that define them: ``hog`` and scikit-image, ``shapes`` and statmorph.

``python benchmarks/bench_features.py`` makes stamps of galaxies (or reads FITS files of galaxies that are named), runs
both on the same pixels and the same segments, in one process and one thread, and prints objects per CPU-second, ratios,
and the largest differences.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

from astrokeras.features.hog import hog
from astrokeras.features.morphometry import measure
from astrokeras.features.segments import segment
from astrokeras.features.texture import co_occurrence_properties, local_binary_patterns, quantised

#: Our measures by their names in statmorph.
PEER = {
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "smoothness": "smoothness",
    "gini": "gini",
    "m20": "m20",
    "petrosian": "rpetro_circ",
    "petrosian_ellip": "rpetro_ellip",
    "r20": "r20",
    "r50": "r50",
    "r80": "r80",
    "ellipticity": "ellipticity_asymmetry",
}
#: Differences of these count as such; of the others, relative to the value.
ABSOLUTE = ("asymmetry", "smoothness")


def galaxies(n, size=64, seed=0):
    """Noisy disks with clumps ``(n, y, x)``, sky 0."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2)[:, None] - rng.uniform(-2, 2, (2, n, 1, 1))
    angle, ratio, radius = (
        rng.uniform(0, np.pi, (n, 1, 1)),
        rng.uniform(0.3, 1, (n, 1, 1)),
        rng.uniform(2, 5, (n, 1, 1)),
    )
    u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    image = np.exp(-np.hypot(u, v) / radius)
    for _ in range(3):
        dy, dx = rng.normal(0, 4, (2, n, 1, 1))
        image += 0.2 * np.exp(-((y - dy) ** 2 + (x - dx) ** 2) / 4)
    return image + rng.normal(0, 0.01, image.shape)


def cpu_seconds(function):
    """CPU time of a call, and its result."""
    begin = time.process_time()
    result = function()
    return time.process_time() - begin, result


def compare_hog(stamps, block=50):
    """Rates of both (medians over blocks, in turn) and the largest difference, of stamps ``(n, y, x[, band])``."""
    from skimage.feature import hog as reference

    axis = -1 if stamps.ndim == 4 else None
    hog(stamps[:2])
    seconds, largest = [], 0.0
    for start in range(0, len(stamps) - block + 1, block):
        part = stamps[start : start + block]
        ours, found = cpu_seconds(lambda part=part: hog(part))
        peer, wanted = cpu_seconds(
            lambda part=part: np.array([reference(s, cells_per_block=(2, 2), channel_axis=axis) for s in part])
        )
        seconds.append((ours, peer))
        largest = max(largest, float(np.abs(found - wanted).max()))
    return *(block / np.median(seconds, axis=0)), largest


def compare_shapes(objects):
    """Rates of both, rows of (ours, statmorph's) measures, and their flags."""
    import statmorph

    nothing = [np.zeros(image.shape, bool) for image, _, _ in objects]
    measure(*objects[0], nothing[0])
    ours = peer = 0.0
    rows, flags = [], []
    for (image, segments, label), masked in zip(objects, nothing, strict=True):
        seconds, found = cpu_seconds(lambda i=image, s=segments, k=label, m=masked: measure(i, s, k, m))
        ours += seconds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The fit of a Sersic profile, which is no part of what we measure, is cut short.
            options = {"gain": 1000.0, "sersic_fitting_args": {"maxiter": 1}}
            seconds, wanted = cpu_seconds(
                lambda i=image, s=segments, k=label, o=options: statmorph.SourceMorphology(i, s, k, **o)
            )
        peer += seconds
        rows.append([(getattr(found, a), wanted[b]) for a, b in PEER.items()])
        flags.append((not found.fine, wanted.flag > 0))
    return len(objects) / ours, len(objects) / peer, np.array(rows), np.array(flags)


def compare_texture(stamps):
    """Rates of the texture features and of scikit-image's."""
    from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

    names = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")

    def reference():
        for stamp in stamps:
            local_binary_pattern(stamp, 8, 1.0, method="uniform")
            grey = quantised(stamp, 16).astype(np.uint8)
            matrix = graycomatrix(grey, [1], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], 16, symmetric=True, normed=True)
            for name in names:
                graycoprops(matrix, name)

    def found():
        local_binary_patterns(stamps)
        co_occurrence_properties(stamps)

    found()
    ours, _ = cpu_seconds(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer, _ = cpu_seconds(reference)
    return len(stamps) / ours, len(stamps) / peer


def read_objects(paths):
    """Objects in FITS files; segments from ``*segim*`` beside a ``*fitim*``, else made."""
    from astropy.io import fits

    objects = []
    for path in paths:
        image = fits.getdata(path).astype(float)
        beside = Path(str(path).replace("fitim", "segim"))
        if beside != Path(path):
            segments = fits.getdata(beside).astype(int)
            label = int(segments[segments.shape[0] // 2, segments.shape[1] // 2])
            objects.append((image / np.abs(image).max(), segments, label))
        else:
            objects.append((image, segment(image), 1))
    return objects


class Features:
    """asv: rates relative to the peers'."""

    timeout = 300

    def track_hog_one_band(self):
        """Ratio to scikit-image."""
        ours, peer, _ = compare_hog(galaxies(250))
        return ours / peer

    def track_hog_three_bands(self):
        """Ratio to scikit-image."""
        ours, peer, _ = compare_hog(np.stack([galaxies(250, seed=k) for k in range(3)], axis=-1))
        return ours / peer

    def track_shapes(self):
        """Ratio to statmorph with its Sersic fit cut short."""
        ours, peer, *_ = compare_shapes([(image, segment(image), 1) for image in galaxies(10, size=80)])
        return ours / peer

    def track_texture(self):
        """Ratio to scikit-image."""
        ours, peer = compare_texture(galaxies(100))
        return ours / peer


def print_hog(n, images):
    """Print the comparison of ``hog``."""
    rng = np.random.default_rng(1)
    sets = {
        "noise f8": rng.normal(size=(n, 64, 64)),
        "galaxies f4": galaxies(n).astype(np.float32),
        "noise f8 x 3": rng.normal(size=(n, 64, 64, 3)),
        "galaxies f4 x 3": np.stack([galaxies(n, seed=k) for k in range(3)], axis=-1).astype(np.float32),
        "levels u1 x 3": rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8),
    }
    if images:
        from PIL import Image

        stack = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in images])
        sets |= {"images u1 x 3": stack, "images f4": (stack[..., 1] / 255).astype(np.float32)}
    print(f"{'hog':18}{'n':>7}{'ours/s':>9}{'peer/s':>9}{'ratio':>7}{'largest difference':>20}")
    for name, stamps in sets.items():
        ours, peer, largest = compare_hog(stamps)
        print(f"{name:18}{len(stamps):7d}{ours:9,.0f}{peer:9,.0f}{ours / peer:7.1f}{largest:20.1e}")


def print_shapes(objects):
    """Print the comparison of ``shapes``."""
    ours, peer, rows, flags = compare_shapes(objects)
    print(f"\nshapes: {len(objects)} objects, ours {ours:.0f}/s, statmorph {peer:.2f}/s, ratio {ours / peer:.0f}")
    mine, theirs = flags.T
    print(f"flagged by statmorph {theirs.sum()}, by us {mine.sum()}, by one only {(mine != theirs).sum()}")
    for k, name in enumerate(PEER):
        known = rows[:, k, 1] != -99
        found, wanted = rows[known, k].T
        difference = np.abs(found - wanted) / (1 if name in ABSOLUTE else np.abs(wanted))
        kind = "absolute" if name in ABSOLUTE else "relative"
        print(f"{name:18}{kind:>10}  median {np.median(difference):.1e}  largest {difference.max():.1e}")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stamps", type=int, default=2000, help="of each kind, for hog")
    parser.add_argument("--objects", type=int, default=40, help="made for shapes, if no files are named")
    parser.add_argument("--fits", nargs="*", default=[], help="images of galaxies, for shapes")
    parser.add_argument("--images", nargs="*", default=[], help="RGB images of one size, for hog")
    options = parser.parse_args()
    print_hog(options.stamps, options.images)
    made = [(image, segment(image), 1) for image in galaxies(options.objects, size=80)]
    print_shapes(read_objects(options.fits) or made)
    ours, peer = compare_texture(galaxies(200))
    print(f"\ntexture: ours {ours:.0f}/s, scikit-image {peer:.0f}/s, ratio {ours / peer:.1f}")


if __name__ == "__main__":
    main()
