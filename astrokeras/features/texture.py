"""Texture of stamps: local binary patterns, and properties of grey-level co-occurrence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field as Parameter

from ..fields import FLAGS, Field
from .colors import Bands
from .stamps import StampStage, pixel_flags

if TYPE_CHECKING:
    from astropy.table import QTable

#: Properties of co-occurrence, and what they say.
PROPERTIES = {
    "contrast": "mean square difference of levels side by side",
    "dissimilarity": "mean difference of levels side by side",
    "homogeneity": "mean of 1 / (1 + difference squared)",
    "energy": "root of the sum of squares of the probabilities",
    "correlation": "correlation of levels side by side",
    "entropy": "entropy of the probabilities, in nats",
}
#: Quantiles between which the levels lie.
_RANGE = (0.01, 0.99)


def local_binary_patterns(stamps: np.ndarray, points: int = 8, radius: float = 1.0) -> np.ndarray:
    """Histograms of uniform local binary patterns (Ojala et al. 2002, IEEE TPAMI 24, 971).

    Parameters
    ----------
    stamps : array_like
        ``(n, y, x)``.
    points, radius : int, float
        Points on a circle around each pixel; between pixels they are interpolated linearly.

    Returns
    -------
    ndarray
        ``(n, points + 2)``: fractions of pixels with 0, 1, ... ``points`` points that are not fainter, where brighter
        and fainter points change at most twice along the circle, and of all others. As from
        `skimage.feature.local_binary_pattern` with ``method="uniform"``, of pixels whose circle lies in the stamp and
        meets no missing pixel; NaN without any.

    Examples
    --------
    >>> local_binary_patterns(np.ones((1, 5, 5)))
    array([[0., 0., 0., 0., 0., 0., 0., 0., 1., 0.]])
    """
    from .texture_kernels import pattern_histogram

    counts = [pattern_histogram(np.asarray(stamp, np.float64), points, float(radius)) for stamp in stamps]
    return _normalised(np.reshape(counts, (-1, points + 2)))


def _normalised(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def quantised(image: np.ndarray, levels: int) -> np.ndarray:
    """Levels 0 to ``levels - 1`` of pixels, in equal steps from their 1 % to their 99 % quantile; -1 where missing."""
    known = np.isfinite(image)
    out = np.full(image.shape, -1, np.int64)
    if known.any():
        low, high = np.quantile(image[known].astype(np.float64), _RANGE)
        step = (high - low) / levels or 1.0
        out[known] = np.clip((image[known] - low) / step, 0, levels - 1)
    return out


def co_occurrence_properties(stamps: np.ndarray, levels: int = 16, distance: int = 1) -> dict[str, np.ndarray]:
    """Properties of grey-level co-occurrence (Haralick et al. 1973, IEEE TSMC 3, 610), means of four directions.

    Parameters
    ----------
    stamps : array_like
        ``(n, y, x)``, cut into ``levels`` by `quantised`. Pairs with a missing pixel do not count.
    distance : int
        Pixels from each other, at 0, 45, 90 and 135 degrees.

    Returns
    -------
    dict of ndarray
        By name, `PROPERTIES`, each ``(n,)``, defined as in `skimage.feature.graycoprops`; NaN without any pair.
    """
    from .texture_kernels import co_occurrence

    slant = round(np.sqrt(0.5) * distance)
    steps = ((0, distance), (slant, slant), (distance, 0), (slant, -slant))
    out = np.full((len(stamps), len(PROPERTIES)), np.nan)
    for k, stamp in enumerate(stamps):
        grey = quantised(stamp, levels)
        p = np.array([co_occurrence(grey, levels, *step) for step in steps])
        if p.any():
            out[k] = _properties(p).mean(axis=1)
    return dict(zip(PROPERTIES, out.T, strict=True))


def _properties(p: np.ndarray) -> np.ndarray:
    """Properties ``(property, direction)`` of probabilities ``(direction, level, level)``."""
    i, j = np.ogrid[: p.shape[1], : p.shape[2]]
    mean = (p * i).sum(axis=(1, 2), keepdims=True)
    variance = (p * (i - mean) ** 2).sum(axis=(1, 2))
    covariance = (p * (i - mean) * (j - mean)).sum(axis=(1, 2))
    values = {
        "contrast": (p * (i - j) ** 2).sum(axis=(1, 2)),
        "dissimilarity": (p * np.abs(i - j)).sum(axis=(1, 2)),
        "homogeneity": (p / (1 + (i - j) ** 2)).sum(axis=(1, 2)),
        "energy": np.sqrt((p**2).sum(axis=(1, 2))),
        # Of one level only: 1, as in scikit-image.
        "correlation": np.divide(covariance, variance, out=np.ones_like(variance), where=variance > 1e-15),
        "entropy": -(p * np.log(np.where(p > 0, p, 1))).sum(axis=(1, 2)),
    }
    return np.array([values[name] for name in PROPERTIES])


class Texture(StampStage):
    """Texture of stamps, by band: ``lbp_{band}``, a vector, and ``glcm_contrast_{band}`` and so on.

    ``lbp``: histogram of uniform local binary patterns (Ojala et al. 2002, IEEE TPAMI 24, 971). ``glcm_contrast``,
    ``glcm_dissimilarity``, ``glcm_homogeneity``, ``glcm_energy``, ``glcm_correlation``, ``glcm_entropy``: properties of
    grey-level co-occurrence (Haralick et al. 1973, IEEE TSMC 3, 610), means of four directions, of pixels cut into
    ``levels`` equal steps from their 1 % to their 99 % quantile. Definitions are those of scikit-image. What is missing
    does not count (``MASKED_PIXELS``).

    Parameters
    ----------
    bands : tuple of str
        Bands of the stamps.
    points, radius : int, float
        Of the circle of local binary patterns, in pixels.
    levels, distance : int
        Of co-occurrence: grey levels, and pixels from each other.
    stamp : str
        Column of the stamps, cells ``(y, x, band)``.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> table = QTable({"stamp": np.random.default_rng(0).normal(size=(2, 32, 32, 1))})
    >>> out = Texture(bands=["r"])(table)
    >>> out["lbp_r"].shape, bool(abs(out["glcm_correlation_r"]).max() < 0.1)
    ((2, 10), True)
    """

    name: ClassVar[str] = "texture"

    bands: Bands = Parameter(min_length=1)
    points: Annotated[int, Parameter(ge=3, le=64)] = 8
    radius: Annotated[float, Parameter(gt=0, le=64)] = 1.0
    levels: Annotated[int, Parameter(ge=2, le=256)] = 16
    distance: Annotated[int, Parameter(ge=1, le=64)] = 1

    def writes(self) -> tuple[Field, ...]:
        """See `Stage.writes`."""
        said = "Fractions of pixels by uniform local binary pattern, {} points at {:g} pixels, in band {}"
        out = []
        for band in self.bands:
            out.append(
                Field(
                    name=f"lbp_{band}",
                    shape=(self.points + 2,),
                    description=said.format(self.points, self.radius, band),
                    ucd="src.morph.param",
                )
            )
            out += [
                Field(
                    name=f"glcm_{name}_{band}",
                    description=f"Co-occurrence of grey levels: {what}, in band {band}",
                    ucd="src.morph.param",
                )
                for name, what in PROPERTIES.items()
            ]
        return (*out, FLAGS)

    def run(self, chunk: QTable) -> dict[str, Any]:
        """See `Stage.run`."""
        stamps = self.planes(chunk)
        out: dict[str, Any] = {"flags": pixel_flags(stamps)}
        for k, band in enumerate(self.bands):
            of_band = stamps[..., k]
            out[f"lbp_{band}"] = local_binary_patterns(of_band, self.points, self.radius)
            for name, values in co_occurrence_properties(of_band, self.levels, self.distance).items():
                out[f"glcm_{name}_{band}"] = values
        return out
