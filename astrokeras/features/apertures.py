"""Kernels of apertures: the exact part of each pixel in an ellipse, light within it, and radii that follow from light.

The middle of pixel ``(y, x)`` has these coordinates, as in photutils and statmorph. Angles are from x towards y.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import compiled

#: Half of the diagonal of a pixel.
_REACH = 0.7072
#: Trial radii of a search, and the precision of what it finds, in pixels.
_TRIALS = 100
_PRECISION = 1e-6


@compiled
def _sector(px, py, qx, qy):
    return 0.5 * math.atan2(px * qy - py * qx, px * qx + py * qy)


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
    square, reach = u * u + v * v, _REACH / b
    if square > (1 + reach) ** 2:
        return 0.0
    if reach < 1 and square < (1 - reach) ** 2:
        return 1.0
    # Half steps along x and y, where the ellipse is the unit circle.
    xu, xv, yu, yv = 0.5 * cosine / a, -0.5 * sine / b, 0.5 * sine / a, 0.5 * cosine / b
    u1, v1, u2, v2 = u - xu - yu, v - xv - yv, u + xu - yu, v + xv - yv
    u3, v3, u4, v4 = u + xu + yu, v + xv + yv, u - xu + yu, v - xv + yv
    area = _edge_area(u1, v1, u2, v2) + _edge_area(u2, v2, u3, v3)
    area += _edge_area(u3, v3, u4, v4) + _edge_area(u4, v4, u1, v1)
    return area * a * b


@compiled
def bounds(centre, extent, length):
    """Range of the pixels that an interval around ``centre`` touches."""
    return max(0, math.ceil(centre - extent - 0.5)), min(length, math.floor(centre + extent + 0.5) + 1)


@compiled
def light(image, masked, x, y, a, b, theta):
    """Sum of the pixels in an ellipse around ``(x, y)``, and its area on pixels that are not masked."""
    cosine, sine = math.cos(theta), math.sin(theta)
    y0, y1 = bounds(y, math.hypot(a * sine, b * cosine), image.shape[0])
    x0, x1 = bounds(x, math.hypot(a * cosine, b * sine), image.shape[1])
    total = area = 0.0
    for i in range(y0, y1):
        for j in range(x0, x1):
            part = covered(j - x, i - y, a, b, cosine, sine)
            total += part * image[i, j]
            area += 0.0 if masked[i, j] else part
    return total, area


@compiled
def ring_light(image, masked, x, y, a, elongation, theta, width):
    """Sum and unmasked area in the elliptical ring of a width around the semi-major axis ``a``."""
    outer, inner = a + 0.5 * width, a - 0.5 * width
    total, area = light(image, masked, x, y, outer, outer / elongation, theta)
    within, without = light(image, masked, x, y, inner, inner / elongation, theta)
    return total - within, area - without


@compiled
def _mean(total, area):
    return abs(total / area) if area > 1e-9 else 0.0


@compiled
def _excess(image, masked, x, y, a, elongation, theta, eta):
    """Brightness on an ellipse over that within it, minus eta; and whether there is light within."""
    total, area = light(image, masked, x, y, a, a / elongation, theta)
    ring, ring_area = ring_light(image, masked, x, y, a, elongation, theta, 1.0)
    within, on = _mean(total, area), _mean(ring, ring_area)
    if within == 0:
        return (1.0 if on > 0 else 0.0) - eta, False
    return on / within - eta, True


@compiled
def petrosian_radius(image, masked, x, y, elongation, theta, eta=0.2):
    """Semi-major axis where the brightness is ``eta`` times the mean within, and whether it is well defined.

    Petrosian 1976, ApJ 209, L1; Lotz et al. 2004, AJ 128, 163, eq. 4. The innermost of several; with a ring 1 pixel wide.
    """
    largest = math.hypot(image.shape[0], image.shape[1]) * elongation
    low = high = 0.0
    fine = True
    for a in np.linspace(1.0, largest, _TRIALS):
        excess, lit = _excess(image, masked, x, y, a, elongation, theta, eta)
        fine = fine and lit
        if excess < 0:
            high = a
            break
        low = a
    if low == 0:
        return 1.0, False
    if high == 0:
        return largest, False
    while high - low > _PRECISION:
        middle = 0.5 * (low + high)
        excess, lit = _excess(image, masked, x, y, middle, elongation, theta, eta)
        fine = fine and lit
        low, high = (middle, high) if excess >= 0 else (low, middle)
    return 0.5 * (low + high), fine


@compiled
def light_radius(image, x, y, largest, fraction):
    """Radius of the circle with a fraction of the light within ``largest``, and whether that light is positive."""
    masked = np.zeros(image.shape, np.bool_)
    total, _ = light(image, masked, x, y, largest, largest, 0.0)
    if total == 0:
        return largest, False
    low = high = largest
    for r in np.linspace(0.0, largest, _TRIALS)[1:]:
        part, _ = light(image, masked, x, y, r, r, 0.0)
        if abs(part) > fraction * abs(total):
            low, high = r - largest / (_TRIALS - 1), r
            break
    while high - low > _PRECISION:
        middle = 0.5 * (low + high)
        part, _ = light(image, masked, x, y, middle, middle, 0.0)
        low, high = (low, middle) if abs(part) > fraction * abs(total) else (middle, high)
    return 0.5 * (low + high), total > 0
