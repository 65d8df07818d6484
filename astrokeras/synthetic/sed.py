"""Spectral energy distributions of galaxies, stars and quasars, and their synthetic AB photometry.

Every object of the synthetic sky is a non-negative mixture of a few templates, so that its photometry is exactly the
same mixture of template fluxes: those are tabulated once (`astrokeras.synthetic.grid`) and mixed per object.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
#: Rest wavelengths of all templates, in Angstrom, equidistant in the logarithm (300 km/s).
WAVE = np.exp(np.arange(np.log(600.0), np.log(27000.0), 0.001))
#: Speed of light in Angstrom per second, and the AB zero point in erg/s/cm2/Hz (Oke & Gunn 1983).
LIGHT = 2.99792458e18
AB_FNU = 3.631e-20
#: Lyman series: wavelength (Angstrom) and optical depth coefficient (Madau 1995, table of the first lines).
LYMAN_LINES = ((1215.67, 0.0036), (1025.72, 0.0017), (972.537, 0.0011846), (949.743, 0.0009410), (937.803, 0.0007960))
LYMAN_LIMIT = 912.0

#: Continuum slopes (f_nu ~ nu^slope) of the quasar templates; the mean one is near -0.5 (Vanden Berk et al. 2001).
QUASAR_SLOPES = (-2.2, -1.2, -0.6, 0.1)
#: Index of the galaxy template that serves as host of quasars.
HOST = 3
#: Quasar emission lines: rest wavelength, equivalent width, sigma, all in Angstrom (Vanden Berk et al. 2001, table 2).
#: Lyman alpha is weaker than there (92.9), which makes the colours of SDSS quasars at z = 1.7 to 2.5 come out.
QUASAR_LINES = (
    (1033.0, 9.77, 7.76),
    (1216.25, 65.0, 19.46),
    (1239.9, 1.11, 2.71),
    (1305.4, 1.66, 5.42),
    (1398.3, 8.13, 14.26),
    (1546.2, 23.78, 14.33),
    (1637.9, 0.51, 3.94),
    (1664.7, 0.43, 5.30),
    (1856.8, 0.31, 4.95),
    (1905.97, 21.19, 23.58),
    (2800.3, 32.28, 34.95),
    (3729.7, 1.56, 3.32),
    (3869.8, 1.38, 5.31),
    (4102.7, 5.05, 18.62),
    (4346.4, 12.62, 20.32),
    (4853.1, 46.21, 40.44),
    (4960.4, 3.50, 3.85),
    (5008.2, 13.23, 6.04),
    (5877.4, 4.94, 23.45),
    (6564.9, 194.52, 47.39),
    (6718.9, 2.02, 2.09),
)
#: Blends of Fe II and the Balmer continuum as Gaussians: centre, sigma (Angstrom), height over the continuum.
QUASAR_BUMPS = (
    (2080.0, 60.0, 0.05),
    (2480.0, 140.0, 0.14),
    (3050.0, 330.0, 0.18),
    (4570.0, 80.0, 0.07),
    (5250.0, 110.0, 0.05),
)

#: Median SDSS colours of main sequence stars as polynomials in g-i, 0.1 < g-i < 4 (Covey et al. 2007, table 4).
STELLAR_LOCUS = {
    "u-g": (1.0636113, -1.6267818, 4.9389572, -3.2809081, 0.8725109, -0.0828035),
    "g-r": (0.4290263, -0.8852323, 2.0740616, -1.1091553, 0.2397461, -0.0183195),
    "r-i": (-0.4113500, 1.8229991, -1.9989772, 1.0662075, -0.2284455, 0.0172212),
    "i-z": (-0.2270331, 0.7794558, -0.7350749, 0.3727802, -0.0735412, 0.0049808),
}
#: Colour change per g-i bluer than the locus (hot stars, close to black bodies).
HOT_SLOPES = {"u-g": 0.0, "g-r": 0.72, "r-i": 0.28, "i-z": 0.21}
#: The polynomials are used from here on; bluer they leave the locus of A and B stars.
BLUE_END = 0.45


@lru_cache(maxsize=1)
def galaxy_templates() -> np.ndarray:
    """Five galaxy spectra on `WAVE`, shape (5, n), f_lambda, 1 at 5500 Angstrom.

    The templates of kcorrect v4 (Blanton & Roweis 2007, AJ 133, 734): a non-negative basis of stellar population
    models with dust and emission lines, fitted to GALEX, SDSS, 2MASS, DEEP2 and GOODS photometry. Taken from the
    package kcorrect (M. R. Blanton, BSD 3-Clause), resampled by `astrokeras.synthetic.grid`.
    """
    with np.load(DATA / "galaxy_templates.npz", allow_pickle=False) as stored:
        return stored["flux"].astype(float)


def igm_transmission(wave: np.ndarray, z: float) -> np.ndarray:
    """Mean transmission of the intergalactic medium (Madau 1995, ApJ 441, 18).

    Parameters
    ----------
    wave : ndarray, shape (n,)
        Observed wavelengths in Angstrom.
    z : float
        Redshift of the source.
    """
    depth = np.zeros_like(wave)
    for line, coefficient in LYMAN_LINES:
        depth += np.where(wave < line * (1 + z), coefficient * (wave / line) ** 3.46, 0.0)
    absorber, emitter = np.maximum(wave / LYMAN_LIMIT, 1.0), 1 + z
    continuum = (
        0.25 * absorber**3 * (emitter**0.46 - absorber**0.46)
        + 9.4 * absorber**1.5 * (emitter**0.18 - absorber**0.18)
        - 0.7 * absorber**3 * (absorber**-1.32 - emitter**-1.32)
        - 0.023 * (emitter**1.68 - absorber**1.68)
    )
    depth += np.where(wave < LYMAN_LIMIT * emitter, np.maximum(continuum, 0.0), 0.0)
    return np.exp(-depth)


def quasar_templates() -> np.ndarray:
    """Quasar spectra on `WAVE`, shape (6, n): four power laws with blends, the emission lines, the host galaxy.

    Power laws in f_nu with `QUASAR_SLOPES`, steeper by 1.5 bluewards of Lyman alpha, all 1 at 3000 Angstrom. The lines
    have the equivalent widths of the composite of Vanden Berk et al. (2001, AJ 122, 549) over the power law of slope
    -0.44. The host is the oldest galaxy template, 1 at 5500 Angstrom. No intergalactic absorption yet.
    """
    bumps = 1 + sum(height * np.exp(-0.5 * ((WAVE - centre) / sigma) ** 2) for centre, sigma, height in QUASAR_BUMPS)
    continua = [_power_law(slope) * bumps for slope in QUASAR_SLOPES]
    base = _power_law(-0.44)
    lines = np.zeros_like(WAVE)
    for centre, width, sigma in QUASAR_LINES:
        # The line of width EW holds EW times the continuum under it.
        height = np.interp(centre, WAVE, base) * width / (np.sqrt(2 * np.pi) * sigma)
        lines += height * np.exp(-0.5 * ((WAVE - centre) / sigma) ** 2)
    return np.array([*continua, lines, galaxy_templates()[HOST]])


def _power_law(slope: float) -> np.ndarray:
    """Broken power law in f_lambda on `WAVE`, 1 at 3000 Angstrom, for a slope in f_nu."""
    log = -(slope + 2) * np.log(WAVE / 3000.0)
    log += 1.5 * np.minimum(np.log(WAVE / LYMAN_LINES[0][0]), 0.0)
    return np.exp(log)


def blackbody(temperature: float) -> np.ndarray:
    """Planck's law on `WAVE` in f_lambda, 1 at 5500 Angstrom; temperature in K."""

    def planck(wave):
        return wave**-5.0 / np.expm1(1.438777e8 / (wave * temperature))

    return planck(WAVE) / planck(5500.0)


def locus_colors(g_i: float) -> dict[str, float]:
    """SDSS colours u-g, g-r, r-i, i-z of the stellar locus at a g-i (Covey et al. 2007, AJ 134, 2398)."""
    inside, hot = max(g_i, BLUE_END), min(g_i - BLUE_END, 0.0)
    return {
        color: float(np.polynomial.polynomial.polyval(inside, coefficients)) + hot * HOT_SLOPES[color]
        for color, coefficients in STELLAR_LOCUS.items()
    }


def star_templates(g_i: float, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Star spectra on `WAVE` at a colour g-i, shape (3, n): metal rich, metal poor, white dwarf; f_lambda.

    A black body of the colour temperature times a smooth correction that brings the synthetic SDSS photometry onto the
    stellar locus, so that other filter systems follow from a spectrum; u is corrected by a step at the Balmer and
    metal-line break. The metal-poor star is brighter there by up to 0.25 mag (halo against disk main sequence,
    Ivezic et al. 2008, ApJ 684, 287); the white dwarf is the black body itself. No molecular bands.

    Parameters
    ----------
    g_i : float
        SDSS colour g-i in mag, -0.7 to 3.6.
    curves : dict
        ``u g r i z``: (wavelengths in Angstrom, throughput) of the SDSS filters.
    """
    base = blackbody(_color_temperature(g_i, curves))
    colors = locus_colors(g_i)
    # Magnitudes relative to r that the spectrum must have.
    target = {"u": colors["u-g"] + colors["g-r"], "g": colors["g-r"], "r": 0.0, "i": -colors["r-i"]}
    target["z"] = target["i"] - colors["i-z"]
    nodes = dict.fromkeys("ugriz", 0.0)
    for _ in range(12):
        rich = base * 10 ** (-0.4 * _correction(nodes))
        found = {band: -2.5 * np.log10(band_flux(rich, *curves[band])) for band in "ugriz"}
        for band in "ugriz":
            nodes[band] += target[band] - (found[band] - found["r"])
    blanketing = 0.25 * np.exp(-0.5 * ((g_i - 0.6) / 0.35) ** 2)
    poor = rich * 10 ** (0.4 * blanketing * _blue_step())
    return np.array([rich, poor, base])


def _correction(nodes: dict[str, float]) -> np.ndarray:
    """Correction in mag on `WAVE` from one value per SDSS band: linear in log wavelength, for u a step at the break."""
    centres = np.log([4690.0, 6170.0, 7480.0, 8930.0])
    smooth = np.interp(np.log(WAVE), centres, [nodes[band] for band in "griz"])
    return smooth + (nodes["u"] - nodes["g"]) * _blue_step()


def _blue_step() -> np.ndarray:
    """1 bluewards of the Balmer and metal-line break at 3900 Angstrom, 0 redwards, 4 per cent wide."""
    return 0.5 * (1 - np.tanh(np.log(WAVE / 3900.0) / 0.04))


def _color_temperature(g_i: float, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> float:
    """Temperature in K of the black body with an SDSS colour g-i, by bisection."""
    cold, hot = 1500.0, 200000.0
    for _ in range(40):
        middle = np.sqrt(cold * hot)
        spectrum = blackbody(middle)
        color = -2.5 * np.log10(band_flux(spectrum, *curves["g"]) / band_flux(spectrum, *curves["i"]))
        cold, hot = (middle, hot) if color > g_i else (cold, middle)
    return float(np.sqrt(cold * hot))


def band_flux(spectrum: np.ndarray, wave: np.ndarray, throughput: np.ndarray, z: float = 0.0) -> np.ndarray:
    """Flux density through a photon-counting filter, in units of the AB zero point.

    Parameters
    ----------
    spectrum : ndarray, shape (..., n)
        f_lambda on the rest wavelengths `WAVE`, erg/s/cm2/Angstrom; zero outside.
    wave, throughput : ndarray, shape (m,)
        Filter curve, observed wavelengths in Angstrom.
    z : float
        Redshift; the observed spectrum is the rest spectrum at ``wave / (1 + z)``, dimmed by nothing but the mean
        intergalactic absorption (constant factors are left to the population).
    """
    rest = wave / (1 + z)
    absorption = igm_transmission(wave, z)
    observed = np.stack([np.interp(rest, WAVE, one, left=0.0, right=0.0) for one in np.atleast_2d(spectrum)])
    numerator = np.trapezoid(observed * absorption * throughput * wave, wave, axis=-1)
    result = numerator / (AB_FNU * LIGHT * np.trapezoid(throughput / wave, wave))
    return result if np.ndim(spectrum) > 1 else result[0]
