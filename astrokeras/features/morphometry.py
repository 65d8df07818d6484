"""Shape of one object in one image: concentration, asymmetry, smoothness, Gini, M20, radii, ellipse."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage

from .apertures import light, light_radius, petrosian_radius, pixels
from .asymmetry import asymmetry_at, least_asymmetry, turned
from .clumps import agrees, gini, m20, petrosian_segment
from .views import View, look

#: In Petrosian radii: the aperture of C, A and S, the core that S leaves out, and the box of its filter.
_APERTURE = 1.5
_CORE = 0.25
#: Variance of a pixel: no object is thinner.
_PIXEL = 1 / 12

Point = tuple[float, float]


@dataclass
class Shape:
    """Measures of an object, NaN where there is none; lengths and positions in pixels, angles in degrees."""

    concentration: float = math.nan
    asymmetry: float = math.nan
    smoothness: float = math.nan
    gini: float = math.nan
    m20: float = math.nan
    petrosian: float = math.nan
    petrosian_ellip: float = math.nan
    r20: float = math.nan
    r50: float = math.nan
    r80: float = math.nan
    ellipticity: float = math.nan
    orientation: float = math.nan
    x_centroid: float = math.nan
    y_centroid: float = math.nan
    #: Whether all is what its definition means: False where statmorph flags.
    fine: bool = False
    #: Whether no pixel of the aperture of C, A and S is missing.
    whole: bool = True


MEASURES = tuple(field.name for field in fields(Shape) if field.type == "float")


def measure(image: np.ndarray, segments: np.ndarray, label: int, masked: np.ndarray) -> Shape:
    """Measure an object as statmorph does (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140).

    Parameters
    ----------
    image, segments, masked : ndarray
        ``(y, x)``: pixels without sky; segments, 0 for the sky; what is to be left out.
    label : int
        Of the segment of the object.
    """
    shape = Shape()
    if not np.any(segments == label):
        return shape
    view = look(image, segments, label, masked)
    if not view.galaxy.sum() > 0:
        return shape
    checks = []
    centroid = _centroid(view, checks)
    shape.x_centroid, shape.y_centroid = centroid[0] + view.corner[1], centroid[1] + view.corner[0]
    field = pixels(view.image, view.masked)
    radius, fine = petrosian_radius(field, *centroid, 1.0, 0.0)
    checks.append(fine)
    centre, shape.asymmetry = _centre(view, centroid, radius, checks)
    elongation, theta = _ellipse(view.galaxy, centre, checks)
    shape.ellipticity, shape.orientation = 1 - 1 / elongation, math.degrees(theta)
    shape.petrosian, fine = petrosian_radius(field, *centre, 1.0, 0.0)
    shape.petrosian_ellip, elliptic = petrosian_radius(field, *centre, elongation, theta)
    checks += [fine, elliptic, view.sky.size > 0 and abs(view.sky.mean()) <= view.sky.std()]
    _concentration(shape, field, centre, checks)
    shape.smoothness = _smoothness(view, centre, shape.petrosian, checks)
    segment, fine = petrosian_segment(view, centroid, shape.petrosian_ellip, elongation, theta)
    checks += [fine, agrees(view, segment)]
    shape.gini = _known(gini(view.image[segment]), checks)
    shape.m20 = _known(m20(np.where(segment, view.image, 0.0)), checks)
    shape.fine = all(checks)
    y, x = np.nonzero(view.missing)
    shape.whole = not np.any(np.hypot(y - centre[1], x - centre[0]) <= _APERTURE * shape.petrosian)
    return shape


def _known(value: float, checks: list[bool]) -> float:
    checks.append(math.isfinite(value))
    return value


def _centroid(view: View, checks: list[bool]) -> Point:
    """Centroid ``(x, y)`` of the segment; the middle of the view if negative pixels push it out."""
    y, x = np.indices(view.galaxy.shape)
    total = view.galaxy.sum()
    cx, cy = float((x * view.galaxy).sum() / total), float((y * view.galaxy).sum() / total)
    height, width = view.galaxy.shape
    inside = 0 <= cy < height and 0 <= cx < width
    if not inside:
        cx, cy = width / 2, height / 2
    checks += [inside, view.image[int(cy), int(cx)] != 0]
    return cx, cy


def _centre(view: View, centroid: Point, radius: float, checks: list[bool]) -> tuple[Point, float]:
    """Centre ``(x, y)`` of least asymmetry, not far from the centroid or, if it is, from the brightest pixel; and A."""
    sky = float(np.abs(view.sky[::-1, ::-1] - view.sky).mean()) if view.sky.size else 0.0
    pair = turned(view.image, view.masked, _APERTURE * radius)
    y, x = np.unravel_index(np.argmax(view.galaxy), view.galaxy.shape)
    for k, start in enumerate((centroid, (float(x), float(y)))):
        found, possible = least_asymmetry(pair, np.array(start), _APERTURE * radius, sky)
        near = math.dist(found, start) <= _CORE * radius
        # A second search is suspicious by itself.
        checks += [possible, near, k == 0]
        if near:
            break
    centre = (float(found[0]), float(found[1])) if near else centroid
    checks.append(view.image[int(centre[1]), int(centre[0])] != 0)
    return centre, asymmetry_at(pair, *centre, _APERTURE * radius, sky)


def _ellipse(galaxy: np.ndarray, centre: Point, checks: list[bool]) -> tuple[float, float]:
    """Elongation and orientation of a Gaussian with the second moments of the light about a centre."""
    y, x = np.indices(galaxy.shape)
    dx, dy, total = x - centre[0], y - centre[1], galaxy.sum()
    xx, xy, yy = (float((product * galaxy).sum() / total) for product in (dx * dx, dx * dy, dy * dy))
    checks.append(xx > 0 and yy > 0)
    while abs(xx * yy - xy**2) < _PIXEL**2:
        xx, yy = (value + math.copysign(_PIXEL, value) for value in (xx, yy))
    short, long = np.sort(np.abs(np.linalg.eigvals(np.array([[xx, xy], [xy, yy]]))))
    return math.sqrt(long / short), 0.5 * math.atan2(2 * xy, xx - yy)


def _concentration(shape: Shape, field: tuple, centre: Point, checks: list[bool]) -> None:
    """Radii with 20, 50 and 80 % of the light, and 5 log10(r80 / r20) (Bershady et al. 2000, AJ 119, 2645)."""
    for percent in (20, 50, 80):
        radius, fine = light_radius(field, *centre, _APERTURE * shape.petrosian, percent / 100)
        checks += [fine, radius > 0]
        setattr(shape, f"r{percent}", radius if radius > 0 else math.nan)
    shape.concentration = 5 * math.log10(shape.r80 / shape.r20)


def _smoothness(view: View, centre: Point, petrosian: float, checks: list[bool]) -> float:
    """Light in small clumps (Lotz et al. 2004, eq. 11): what a mean filter takes away, less that of the sky."""
    side = max(1, int(_CORE * petrosian))
    inner, outer = _CORE * petrosian, _APERTURE * petrosian
    clumps, total = (_ring(image, centre, inner, outer) for image in (_above_mean(view.image, side), view.image))
    if not total > 0:
        return _known(math.nan, checks)
    area = math.pi * (_APERTURE**2 - _CORE**2) * petrosian**2
    sky = float(_above_mean(view.sky, side).mean()) if view.sky.size else 0.0
    return _known((clumps - area * sky) / total, checks)


def _above_mean(image: np.ndarray, side: int) -> np.ndarray:
    return np.maximum(image - ndimage.uniform_filter(image, side), 0.0)


def _ring(image: np.ndarray, centre: Point, inner: float, outer: float) -> float:
    field = pixels(image, np.zeros(image.shape, bool))
    return light(field, *centre, outer, outer, 0.0)[0] - light(field, *centre, inner, inner, 0.0)[0]
