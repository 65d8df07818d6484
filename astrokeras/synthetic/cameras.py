"""What a survey's images are like: pixels, seeing, sky, detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..units import ab_to_njy
from .mixture import moffat
from .systems import SYSTEMS


@dataclass(frozen=True)
class Camera:
    """Images of one survey; values by band are medians, rounded.

    Attributes
    ----------
    pixel_scale : float
        In arcsec.
    seeing : dict
        FWHM of the PSF in arcsec, by band.
    sky : dict
        Surface brightness of the sky, AB mag per square arcsec, by band.
    exposure : float
        Seconds.
    read_noise : float
        Electrons per pixel of the image.
    saturation : float
        AB magnitude of the faintest star that saturates.
    """

    pixel_scale: float
    seeing: dict[str, float]
    sky: dict[str, float]
    exposure: float
    read_noise: float
    saturation: float


#: SDSS: York et al. (2000), Stoughton et al. (2002). LSST: Ivezic et al. (2019), table 2; the depth of ten years, and
#: the exposure time of a visit. DECam: the Legacy Surveys, Dey et al. (2019); i and Y as in DES.
CAMERAS = {
    "sdss": Camera(
        pixel_scale=0.396,
        seeing={"u": 1.53, "g": 1.44, "r": 1.32, "i": 1.26, "z": 1.29},
        sky={"u": 22.1, "g": 21.8, "r": 20.9, "i": 20.2, "z": 18.9},
        exposure=53.9,
        read_noise=5.0,
        saturation=14.5,
    ),
    "lsst": Camera(
        pixel_scale=0.2,
        seeing={"u": 0.92, "g": 0.87, "r": 0.83, "i": 0.80, "z": 0.78, "y": 0.76},
        sky={"u": 22.99, "g": 22.26, "r": 21.20, "i": 20.48, "z": 19.60, "y": 18.61},
        exposure=30.0,
        read_noise=9.0,
        saturation=16.0,
    ),
    "decam": Camera(
        pixel_scale=0.262,
        seeing={"g": 1.29, "r": 1.18, "i": 1.15, "z": 1.11, "Y": 1.10},
        sky={"g": 22.0, "r": 21.0, "i": 20.0, "z": 18.8, "Y": 18.1},
        exposure=90.0,
        read_noise=7.0,
        saturation=16.0,
    ),
}
#: Exponent of the Moffat profile of all PSFs; that of seeing in practice is 2.5 to 4.
BETA = 3.0


@dataclass(frozen=True)
class Conditions:
    """One exposure: what decides its noise. Fluxes are in nJy per pixel.

    Attributes
    ----------
    band : str
        Band of the system.
    pixel_scale, fwhm : float
        In arcsec.
    sigma : float
        Noise of the sky and the readout.
    sky : float
        Level of the sky.
    gain : float
        Electrons per nJy.
    read_noise : float
        Electrons.
    full_well : float
        Electrons at which a pixel saturates.
    exposure : float
        Seconds.
    """

    band: str
    pixel_scale: float
    fwhm: float
    sigma: float
    sky: float
    gain: float
    read_noise: float
    full_well: float
    exposure: float


def conditions(system: str, band: str, seeing: float = 1.0, fainter: float = 0.0) -> Conditions:
    """Noise of an exposure that reaches the depth of the survey.

    The sky noise follows from the 5 sigma depth for point sources, ``sigma = F5 / 5 sqrt(n)`` with ``n`` the
    noise-equivalent area of the PSF (King 1983, PASP 95, 163). Its variance in electrons is that of Poisson noise of
    the sky and of the readout, which gives the electrons per nJy.

    Parameters
    ----------
    system, band : str
        See `astrokeras.synthetic.systems.SYSTEMS`.
    seeing : float
        Factor on the survey's FWHM.
    fainter : float
        Magnitudes that the exposure goes deeper than the survey; negative: less deep.
    """
    camera = CAMERAS[system]
    scale, fwhm = camera.pixel_scale, camera.seeing[band] * seeing
    area = noise_area(fwhm / scale)
    sigma = float(ab_to_njy(SYSTEMS[system].depth[band] + fainter) / 5 / np.sqrt(area))
    sky = float(ab_to_njy(camera.sky[band])) * scale**2
    # sigma^2 gain^2 = sky gain + read_noise^2.
    gain = float(sky + np.sqrt(sky**2 + 4 * sigma**2 * camera.read_noise**2)) / (2 * sigma**2)
    peak = moffat(fwhm / scale, BETA).profile(0.0) * float(ab_to_njy(camera.saturation))
    return Conditions(
        band, scale, fwhm, sigma, sky, gain, camera.read_noise, float((peak + sky) * gain), camera.exposure
    )


def noise_area(fwhm: float) -> float:
    """Noise-equivalent area of the Moffat PSF in pixels, 1 / sum of squares; ``fwhm`` in pixels."""
    # The integral of (1 + r^2/a^2)^-2b over that of (1 + r^2/a^2)^-b, squared.
    a = fwhm / (2 * np.sqrt(2 ** (1 / BETA) - 1))
    return float(np.pi * a**2 * (2 * BETA - 1) / (BETA - 1) ** 2)
