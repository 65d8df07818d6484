"""Kernels of apertures: the exact part of each pixel in an ellipse, light within it, and radii that follow from light.

The middle of pixel ``(y, x)`` has these coordinates, as in photutils and statmorph. Angles are from x towards y.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled

#: Half of the diagonal of a pixel.
REACH = 0.7072
#: Trial radii of a search, the precision of what it finds, in pixels, and most steps.
_TRIALS = 100
_PRECISION = 1e-7
_STEPS = 100
#: Area of an aperture, in pixels, that is none.
_NOTHING = 1e-9


@compiled
def _sector(px, py, qx, qy):
    """Area between the unit circle and the lines from its middle to p and q."""
    cross, dot = px * qy - py * qx, px * qx + py * qy
    if abs(cross) < 0.1 * dot:
        # The series of the arctangent, to rounding.
        t = cross / dot
        s = t * t
        return 0.5 * t * (1 - s * (1 / 3 - s * (1 / 5 - s * (1 / 7 - s * (1 / 9 - s * (1 / 11 - s / 13))))))
    return 0.5 * math.atan2(cross, dot)


@compiled
def _edge_area(px, py, qx, qy):
    """Signed area of the triangle (origin, p, q) within the unit circle."""
    dx, dy = qx - px, qy - py
    square, along, out = dx * dx + dy * dy, px * dx + py * dy, px * px + py * py - 1
    inside_p, inside_q = out <= 0, qx * qx + qy * qy <= 1
    if inside_p and inside_q:
        return 0.5 * (px * qy - py * qx)
    root = along * along - square * out
    if root <= 0:
        return _sector(px, py, qx, qy)
    root = math.sqrt(root)
    enter, leave = (-along - root) / square, (-along + root) / square
    if not inside_p and not inside_q and (enter >= 1 or leave <= 0):
        return _sector(px, py, qx, qy)
    ex, ey = (px, py) if inside_p else (px + enter * dx, py + enter * dy)
    lx, ly = (qx, qy) if inside_q else (px + leave * dx, py + leave * dy)
    area = 0.5 * (ex * ly - ey * lx)
    if not inside_p:
        area += _sector(px, py, ex, ey)
    if not inside_q:
        area += _sector(lx, ly, qx, qy)
    return area


@compiled
def covered(x, y, a, b, cosine, sine):
    """Part of the pixel in the middle of which is ``(x, y)`` that lies in an ellipse around the origin (b <= a)."""
    u, v = (x * cosine + y * sine) / a, (y * cosine - x * sine) / b
    # Half steps along x and y, where the ellipse is the unit circle.
    xu, xv, yu, yv = 0.5 * cosine / a, -0.5 * sine / b, 0.5 * sine / a, 0.5 * cosine / b
    u1, v1, u2, v2 = u - xu - yu, v - xv - yv, u + xu - yu, v + xv - yv
    u3, v3, u4, v4 = u + xu + yu, v + xv + yv, u - xu + yu, v - xv + yv
    area = _edge_area(u1, v1, u2, v2) + _edge_area(u2, v2, u3, v3)
    area += _edge_area(u3, v3, u4, v4) + _edge_area(u4, v4, u1, v1)
    return area * a * b


@compiled
def rows(y, a, b, cosine, sine, height):
    """First row, and the one after the last, that an ellipse may touch."""
    extent = math.hypot(a * sine, b * cosine) + 0.5
    return max(0, math.ceil(y - extent)), min(height, math.floor(y + extent) + 1)


@compiled
def span(dy, x, a, b, cosine, sine, factor, width):
    """First pixel of a row at ``dy`` from the middle of an ellipse, times a factor, and the one after the last."""
    if factor <= 0:
        return 0, 0
    square = (cosine / a) ** 2 + (sine / b) ** 2
    half = dy * cosine * sine * (1 / a**2 - 1 / b**2)
    root = half * half - square * (dy * dy * ((sine / a) ** 2 + (cosine / b) ** 2) - factor * factor)
    if root < 0:
        return 0, 0
    root = math.sqrt(root)
    first = min(width, max(0, math.ceil(x + (-half - root) / square)))
    return first, max(first, min(width, math.floor(x + (-half + root) / square) + 1))


@compiled
def pixels(image, masked):
    """Image, what is not masked, and the sums of both along the rows: what apertures work on."""
    height, width = image.shape
    known = np.where(masked, 0.0, 1.0)
    image_sums, known_sums = np.zeros((height, width + 1)), np.zeros((height, width + 1))
    for i in range(height):
        image_sums[i, 1:] = np.cumsum(image[i])
        known_sums[i, 1:] = np.cumsum(known[i])
    return image, known, image_sums, known_sums


@compiled
def light(field, x, y, a, b, theta):
    """Sum of the `pixels` in an ellipse around ``(x, y)``, and its area on those that are not masked."""
    image, known, image_sums, known_sums = field
    height, width = image.shape
    cosine, sine = math.cos(theta), math.sin(theta)
    reach = REACH / b
    y0, y1 = rows(y, a, b, cosine, sine, height)
    total = area = 0.0
    for i in range(y0, y1):
        x0, x1 = span(i - y, x, a, b, cosine, sine, 1 + reach, width)
        inner, outer = span(i - y, x, a, b, cosine, sine, 1 - reach, width)
        if inner >= outer:
            inner = outer = x1
        total += image_sums[i, outer] - image_sums[i, inner]
        area += known_sums[i, outer] - known_sums[i, inner]
        for j in range(x0, x1 - (outer - inner)):
            # Over the pixels that lie inside as a whole.
            j += outer - inner if j >= inner else 0
            part = covered(j - x, i - y, a, b, cosine, sine)
            total += part * image[i, j]
            area += part * known[i, j]
    return total, area


@compiled
def ring_light(field, x, y, a, elongation, theta, width):
    """Sum and unmasked area in the elliptical ring of a width around the semi-major axis ``a``."""
    outer, inner = a + 0.5 * width, a - 0.5 * width
    total, area = light(field, x, y, outer, outer / elongation, theta)
    within, without = light(field, x, y, inner, inner / elongation, theta)
    return total - within, area - without


@compiled
def _excess(field, x, y, a, elongation, theta, eta):
    """Brightness on an ellipse over that within it, minus eta; and whether there are light within and pixels on it."""
    total, area = light(field, x, y, a, a / elongation, theta)
    ring, ring_area = ring_light(field, x, y, a, elongation, theta, 1.0)
    within = abs(total / area) if area > _NOTHING else 0.0
    if ring_area < _NOTHING:
        # Beyond the stamp: there a circle has no light, and an ellipse is not at the Petrosian radius, in statmorph.
        return (0.0 if elongation == 1 or within == 0 else 1.0) - eta, False
    on = abs(ring / ring_area)
    if within == 0:
        return (1.0 if on > 0 else 0.0) - eta, False
    return on / within - eta, True


@compiled
def petrosian_radius(field, x, y, elongation, theta, eta=0.2):
    """Semi-major axis where the brightness is ``eta`` times the mean within, and whether it is well defined.

    Petrosian 1976, ApJ 209, L1; Lotz et al. 2004, AJ 128, 163, eq. 4. The innermost of several; with a ring 1 pixel
    wide.
    """
    largest = math.hypot(field[0].shape[0], field[0].shape[1]) * elongation
    ends, values = np.zeros(2), np.zeros(2)
    fine = True
    for a in np.linspace(1.0, largest, _TRIALS):
        excess, lit = _excess(field, x, y, a, elongation, theta, eta)
        fine = fine and lit
        end = 0 if excess >= 0 else 1
        ends[end], values[end] = a, excess
        if end:
            break
    if ends[0] == 0:
        return 1.0, False
    if ends[1] == 0:
        return largest, False
    last, side = 0.0, -1
    for _ in range(_STEPS):
        a = _guess(ends, values)
        if abs(a - last) < _PRECISION:
            break
        excess, lit = _excess(field, x, y, a, elongation, theta, eta)
        fine = fine and lit
        last, side = a, _narrow(ends, values, a, excess, side)
    return last, fine


@compiled
def light_radius(field, x, y, largest, fraction):
    """Radius of the circle with a fraction of the light within ``largest``, and whether that light is positive."""
    total, _ = light(field, x, y, largest, largest, 0.0)
    if total == 0:
        return largest, False
    ends, values = np.array([0.0, largest]), np.array([fraction, fraction - 1])
    for r in np.linspace(0.0, largest, _TRIALS)[1:]:
        part, _ = light(field, x, y, r, r, 0.0)
        lacking = fraction - abs(part / total)
        end = 0 if lacking >= 0 else 1
        ends[end], values[end] = r, lacking
        if end:
            break
    last, side = 0.0, -1
    for _ in range(_STEPS):
        r = _guess(ends, values)
        if abs(r - last) < _PRECISION:
            break
        part, _ = light(field, x, y, r, r, 0.0)
        last, side = r, _narrow(ends, values, r, fraction - abs(part / total), side)
    return last, total > 0


@compiled
def _guess(ends, values):
    """Where the line through two points, of positive and negative value, crosses zero."""
    return (ends[0] * values[1] - ends[1] * values[0]) / (values[1] - values[0])


@compiled
def _narrow(ends, values, place, value, before):
    """Take a point into a bracket and return its end; the value of the other counts half if it stays again.

    Dowell & Jarratt 1971, BIT 11, 168.
    """
    end = 0 if value >= 0 else 1
    ends[end], values[end] = place, value
    if end == before:
        values[1 - end] *= 0.5
    return end
