"""Reading images and finding objects: ours beside astropy, photutils and SEP, in one process.

``python benchmarks/bench_images.py`` prints sections per second of processor time of a plain and of a compressed image,
beside ``astropy.io.fits``, and processor time per megapixel of a catalog with one band, beside the same steps in calls
of photutils, and in calls of SEP where it is installed (``pip install sep``). The sky has objects of known places; what
each finds of them is printed, for times are worth nothing without.

Ours does more than the peers do: a PSF from the stars, PSF fluxes of all objects at once, errors from empty apertures.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astrokeras.images.image import Image
from astrokeras.images.reader import open_image
from astrokeras.photometry import detect

SECTION = 256


def seconds(function, repeats=3):
    """CPU-seconds, the least of some runs, and the result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def gaussian(x0, y0, sigma, side):
    """Light of an object on a square; its pixels."""
    rows, columns = (slice(max(int(c) - side, 0), int(c) + side + 1) for c in (y0, x0))
    y, x = np.mgrid[rows, columns]
    return (rows, columns), np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


class Field:
    """A sky in memory and in files: two thirds stars, one third galaxies (wider by a factor of 1.5 to 3)."""

    def __init__(self, directory, side=1500, density=500, seed=0):
        self.directory = Path(directory)
        rng = np.random.default_rng(seed)
        count = round(density * side**2 / 1e6)
        self.x, self.y = rng.uniform(10, side - 11, (2, count))
        self.flux = 10 ** rng.uniform(2.3, 4.3, count)
        sigma = np.where(np.arange(count) % 3 < 2, 1.3, 1.3 * rng.uniform(1.5, 3, count))
        data = rng.normal(100, 1, (side, side))
        for x, y, flux, width in zip(self.x, self.y, self.flux, sigma, strict=True):
            box, light = gaussian(x, y, width, 30)
            data[box] += flux * light[: data[box].shape[0], : data[box].shape[1]]
        self.data = data.astype(np.float32)
        self.wcs = WCS(naxis=2)
        self.wcs.wcs.ctype, self.wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
        self.wcs.wcs.crpix, self.wcs.wcs.cdelt = [side / 2] * 2, [-0.2 / 3600, 0.2 / 3600]

    @property
    def megapixels(self):
        return self.data.size / 1e6

    def write(self):
        """Plain and compressed file."""
        header = self.wcs.to_header()
        header["BUNIT"], header["FILTER"] = "nJy", "r"
        plain, packed = (str(self.directory / name) for name in ("plain.fits", "packed.fits.fz"))
        fits.PrimaryHDU(self.data, header).writeto(plain, overwrite=True)
        hdu = fits.CompImageHDU(self.data, header, compression_type="RICE_1", quantize_level=16)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(packed, overwrite=True)
        return plain, packed

    def found(self, x, y):
        """Part of the objects that have one of these places within 1.5 pixels."""
        from scipy.spatial import cKDTree

        distance, _ = cKDTree(np.stack([x, y], axis=1)).query(np.stack([self.x, self.y], axis=1))
        return float((distance < 1.5).mean())


def corners(side, count=200, seed=1):
    return np.random.default_rng(seed).integers(0, side - SECTION, (count, 2))


def ours_sections(path, places):
    image = open_image(path, layout="plain")
    for y, x in places:
        image.read(rows=slice(y, y + SECTION), columns=slice(x, x + SECTION))


def astropy_sections(path, places):
    """Sections as float32, with a mask of what is not finite, as ours have."""
    with fits.open(path) as opened:
        section = opened[-1].section
        for y, x in places:
            data = np.asarray(section[y : y + SECTION, x : x + SECTION], np.float32)
            np.isfinite(data)


def ours(field):
    image = Image(field.data, "nJy", np.zeros(field.data.shape, np.int32), band="r", wcs=field.wcs)
    table = detect([image])
    return table["x"].value, table["y"].value


def photutils_calls(field):
    """Sky, detection, deblending, centroids, shapes and Kron fluxes, with the settings of ours."""
    from photutils.background import Background2D, MADStdBackgroundRMS, SExtractorBackground
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources
    from scipy.ndimage import gaussian_filter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sky = Background2D(
            field.data, 128, bkg_estimator=SExtractorBackground(), bkg_rms_estimator=MADStdBackgroundRMS()
        )
        data = field.data - sky.background
        smooth = gaussian_filter(data, 1.3)
        segments = detect_sources(smooth, 1.5 * sky.background_rms, 5)
        segments = deblend_sources(gaussian_filter(data, 0.65), segments, 5, contrast=0.001, progress_bar=False)
        table = SourceCatalog(data, segments, convolved_data=smooth, error=sky.background_rms)
        _ = table.kron_flux, table.kron_flux_err, table.semimajor_axis, table.orientation, table.flux_radius(0.5)
        return np.asarray(table.x_centroid_win), np.asarray(table.y_centroid_win)


def sep_calls(field):
    """The same steps in SEP, whose code is C."""
    import sep

    sky = sep.Background(field.data, bw=128, bh=128)
    data = field.data - sky.back()
    y, x = np.mgrid[-3:4, -3:4]
    found = sep.extract(
        data, 1.5, err=sky.rms(), minarea=5, deblend_cont=0.001, filter_kernel=np.exp(-(x**2 + y**2) / (2 * 1.3**2))
    )
    x, y, a, b, theta = (found[name] for name in ("x", "y", "a", "b", "theta"))
    kron, _ = sep.kron_radius(data, x, y, a, b, theta, 6.0)
    flux, _, _ = sep.sum_ellipse(data, x, y, a, b, theta, 2.5 * kron, err=sky.rms(), subpix=1)
    sep.flux_radius(data, x, y, 6.0 * a, 0.5, normflux=flux)
    places = sep.winpos(data, x, y, np.full(len(x), 1.3))
    return places[0], places[1]


class ImagesSuite:
    """For asv."""

    timeout = 300

    def setup(self):
        self.folder = tempfile.TemporaryDirectory()
        self.field = Field(self.folder.name, side=800)
        self.plain, self.packed = self.field.write()
        self.places = corners(800, 50)

    def teardown(self):
        self.folder.cleanup()

    def time_sections(self):
        ours_sections(self.plain, self.places)

    def time_sections_compressed(self):
        ours_sections(self.packed, self.places)

    def time_detect(self):
        ours(self.field)

    def track_sections_to_astropy(self):
        peer, _ = seconds(lambda: astropy_sections(self.packed, self.places))
        return seconds(lambda: ours_sections(self.packed, self.places))[0] / peer

    def track_detect_to_photutils(self):
        peer, _ = seconds(lambda: photutils_calls(self.field), 2)
        return seconds(lambda: ours(self.field), 2)[0] / peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1500, help="pixels on a side")
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as folder:
        field = Field(folder, side)
        places = corners(side)
        print(f"sections of {SECTION} x {SECTION} pixels, per CPU-second")
        for name, path in zip(("plain", "compressed"), field.write(), strict=True):
            mine, _ = seconds(lambda path=path: ours_sections(path, places))
            peer, _ = seconds(lambda path=path: astropy_sections(path, places))
            print(
                f"  {name:<12} ours {len(places) / mine:8.0f}  astropy {len(places) / peer:8.0f}  x {peer / mine:.2f}"
            )
            opens = seconds(lambda path=path: open_image(path, layout="plain"))[0]
            headers = seconds(lambda path=path: fits.getheader(path, -1))[0]
            print(f"  {'opening':<12} ours {1 / opens:8.0f}  astropy {1 / headers:8.0f}  x {headers / opens:.2f}")
    print(f"catalog of {len(field.x)} objects on {field.megapixels:.1f} Mpix")
    first = None
    for name, function in (("ours", ours), ("photutils", photutils_calls), ("sep", sep_calls)):
        try:
            spent, (x, y) = seconds(lambda function=function: function(field), 2)
        except ImportError:
            print(f"  {name:<10} is not installed")
            continue
        first = first or spent
        rows = f"{len(x):6d} rows, {100 * field.found(x, y):.1f} % of the objects"
        print(f"  {name:<10} {spent / field.megapixels:6.2f} CPU-s/Mpix  ours x {first / spent:5.2f}  {rows}")


if __name__ == "__main__":
    main()
