"""The renderer of the simulated sky against formulas and GalSim."""

import numpy as np
import pytest
from scipy.special import gammainc, gammaincinv

from astrokeras.synthetic.mixture import Mixture, fitted, gaussian, moffat, sersic
from astrokeras.synthetic.parts import make_parts
from astrokeras.synthetic.render import Gaussians, draw, sharpness
from astrokeras.synthetic.shapes import Shapes, half_light_radius, whole_radius

SCALE = 0.2


def point(flux=1.0, x=0.0, y=0.0):
    return Gaussians(*(np.array([value]) for value in (flux, x, y, 0.0, 0.0, 0.0)))


def picture(gaussians, size=151, floor=1e-9):
    image = np.zeros((size, size))
    draw(image, gaussians, floor)
    return image


def galaxies(**changes):
    """Two face-on spirals, unless told otherwise."""
    given = {
        "type": [2, 2], "bulge_radius": [1.0, 1.0], "disk_radius": [4.0, 4.0], "bulge_ratio": [1.0, 1.0],
        "disk_ratio": [1.0, 1.0], "inclination": [0.0, 0.0], "angle": [0.0, 0.0], "arms": [2, 2], "winding": [1, -1],
        "pitch": [20.0, 20.0], "phase": [0.0, 0.0], "shares": [[0.2, 0.5, 0.0, 0.3]] * 2,
    } | changes  # fmt: skip
    return Shapes(**{name: np.array(values) for name, values in given.items()})


def test_moffat_is_its_formula():
    radius = np.linspace(0, 15, 60)
    a = 3.0 / (2 * np.sqrt(2 ** (1 / 3.0) - 1))
    exact = 2 / (np.pi * a**2) * (1 + (radius / a) ** 2) ** -3.0
    for step, error in ((0.5, 1e-4), (0.8, 1e-3)):
        made = moffat(3.0, 3.0, step)
        assert np.abs(made.profile(radius) - exact).max() < error * exact[0]
    assert made.weights.sum() == pytest.approx(1)
    assert moffat(3.0, 3.0).fwhm == pytest.approx(3.0, rel=1e-4)
    assert gaussian(2.5).fwhm == pytest.approx(2.5, rel=1e-6)


@pytest.mark.parametrize(
    ("index", "step", "error"), [(1.0, 0.6, 0.003), (1.0, 0.8, 0.01), (4.0, 0.6, 0.003), (4.0, 1.1, 0.01)]
)
def test_sersic_encloses_the_light_of_the_formula(index, step, error):
    radius = np.geomspace(0.05, 20, 40)
    exact = gammainc(2 * index, gammaincinv(2 * index, 0.5) * radius ** (1 / index))
    assert np.abs(sersic(index, step).enclosed(radius) - exact).max() < error


def test_a_gaussian_is_integrated_over_pixels():
    from scipy.stats import norm

    image = picture(point(1000.0, 70.3, 75.6).convolved(gaussian(3.0)))
    sigma, edges = 3.0 / np.sqrt(8 * np.log(2)), np.arange(152) - 0.5
    exact = 1000 * np.outer(np.diff(norm.cdf(edges, 75.6, sigma)), np.diff(norm.cdf(edges, 70.3, sigma)))
    assert image.sum() == pytest.approx(1000, rel=1e-4)
    assert np.abs(image - exact).max() < 1e-3 * exact.max()


def test_light_of_a_source_beyond_the_edge_reaches_in():
    image = picture(point(1.0, -2.0, 75.0).convolved(gaussian(4.0)))
    assert 0 < image.sum() < 0.5
    assert np.unravel_index(image.argmax(), image.shape) == (75, 0)
    assert not picture(point(1.0, -900.0, 75.0).convolved(gaussian(4.0))).any()


def test_sharpness_is_the_integral_of_the_square():
    seen = point(5.0).convolved(moffat(4.0))
    image = picture(point(1.0, 75, 75).convolved(moffat(4.0)))
    found = sharpness(seen, np.zeros(len(seen), int), 2)
    assert found[0] == pytest.approx((image**2).sum(), rel=2e-3)
    assert np.isnan(found[1])


def test_psf_image_becomes_the_mixture_it_was_drawn_from():
    stamp = picture(point(3.0, 25.2, 24.9).convolved(moffat(4.0)), size=51)
    made = fitted(stamp)
    assert made.fwhm == pytest.approx(4.0, rel=0.02)
    again = picture(point(3.0, 25.2, 24.9).convolved(made), size=51)
    assert np.abs(again - stamp).max() < 0.01 * stamp.max()


def test_blurred_is_nearly_convolved():
    rng = np.random.default_rng(3)
    shapes = galaxies(disk_radius=[1.0, 12.0])
    parts = make_parts(shapes, np.arange(2), np.array([], int), np.array([False, False]), 0.5, rng)
    sky = parts.gaussians.mapped(np.eye(2), parts.gaussians.x + 75, parts.gaussians.y + 75)
    whole = picture(sky.convolved(moffat(4.0)))
    fewer = sky.blurred(moffat(4.0), parts.owner)
    assert len(fewer) < len(sky) * 12
    assert np.abs(picture(fewer) - whole).max() < 0.003 * whole.max()
    assert picture(fewer).sum() == pytest.approx(whole.sum(), rel=1e-3)


def angle_of_the_arm(winding):
    """Angle of the light around rings, counter-clockwise from west to north, growing outwards or not."""
    shapes = galaxies(winding=[winding, winding])
    parts = make_parts(shapes, np.arange(2), np.array([], int), np.array([True, True]), 0.5, np.random.default_rng(1))
    arms = parts[(parts.owner == 0) & (parts.kind == 3)].gaussians
    image = picture(arms.mapped(np.diag([-5.0, 5.0]), 75 - 5 * arms.x, 75 + 5 * arms.y).convolved(gaussian(2.0)))
    y, x = np.indices(image.shape) - 75
    # Two arms: the phase of the second harmonic.
    rings = [(np.hypot(x, y) > r) & (np.hypot(x, y) < r + 3) for r in (15, 18, 21)]
    phases = [np.angle((image[ring] * np.exp(2j * np.arctan2(y, x)[ring])).sum()) / 2 for ring in rings]
    return np.diff(np.unwrap(phases, period=np.pi))


def test_arms_wind_as_z_and_s():
    # In a picture with north up and east left the arms of a Z turn counter-clockwise on their way out.
    assert (angle_of_the_arm(1) > 0.05).all()
    assert (angle_of_the_arm(-1) < -0.05).all()


def test_position_angle_runs_from_north_to_east():
    shapes = galaxies(angle=[30.0, 30.0], disk_ratio=[0.3, 0.3], inclination=[75.0, 75.0], shares=[[0, 1.0, 0, 0]] * 2)
    parts = make_parts(shapes, np.arange(2), np.array([], int), np.array([True, True]), 0.5, np.random.default_rng(1))
    one = parts.gaussians[parts.owner == 0]
    xx, xy, yy = ((one.flux * getattr(one, name)).sum() for name in ("xx", "xy", "yy"))
    # x is east, y north.
    assert np.degrees(0.5 * np.arctan2(2 * xy, yy - xx)) == pytest.approx(30.0)


def test_half_light_radius_of_two_parts():
    shapes = galaxies(shares=[[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    assert whole_radius(shapes) == pytest.approx([1.0, 4.0], rel=4e-3)


def test_sizes_follow_shen_and_shrink_with_redshift():
    rng = np.random.default_rng(0)
    n, redshift = 4000, 0.05
    median = np.median(half_light_radius(np.full(n, -20.52), np.full(n, redshift), np.zeros(n, bool), rng))
    # Equation 15 at M0: 10^(0.4 * 0.21 * 20.52 + 0.32 log10(2) - 1.31) kpc, of 0.97 kpc per arcsec at this redshift.
    from astropy.cosmology import FlatLambdaCDM

    kiloparsec = 10 ** (0.4 * 0.21 * 20.52 + 0.32 * np.log10(2) - 1.31) * (1 + redshift) ** -0.75
    scale = FlatLambdaCDM(H0=70, Om0=0.3).arcsec_per_kpc_proper(redshift).value
    assert median == pytest.approx(kiloparsec * scale, rel=0.03)


# GalSim


def seen_by_galsim(galsim, profile, psf, offset=(0.0, 0.0), size=151):
    shifted = galsim.Convolve(profile, psf) if profile is not None else psf
    return shifted.shift(offset[0] * SCALE, offset[1] * SCALE).drawImage(nx=size, ny=size, scale=SCALE).array


@pytest.mark.parametrize("index", [None, 1, 4])
@pytest.mark.parametrize("fine", [True, False])
def test_galsim_draws_the_same(index, fine):
    galsim = pytest.importorskip("galsim")
    flux, noise = (40000.0, 20.0) if fine else (2500.0, 20.0)
    psf = galsim.Moffat(beta=3, fwhm=4 * SCALE, flux=1.0)
    ours = moffat(4.0, 3.0, 0.5 if fine else 0.8)
    ratio, radius, angle = 0.5, 5.0, np.radians(25.0)
    if index is None:
        theirs = seen_by_galsim(galsim, None, psf.withFlux(flux), (0.3, -0.4))
        image = picture(point(flux, 75.3, 74.6).convolved(ours), floor=0.01 * noise)
    else:
        kind = galsim.Exponential if index == 1 else galsim.DeVaucouleurs
        profile = kind(half_light_radius=radius * np.sqrt(ratio) * SCALE, flux=flux)
        profile = profile.shear(q=ratio, beta=angle * galsim.radians)
        theirs = seen_by_galsim(galsim, profile, psf)
        step = {1: (0.8, 0.6), 4: (1.1, 0.6)}[index][fine]
        mixture = sersic(float(index), step).scaled(radius)
        k, zero = len(mixture.weights), np.zeros(len(mixture.weights))
        plane = Gaussians(flux * mixture.weights, zero, zero, mixture.variances, zero, mixture.variances * ratio**2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        image = picture(plane.mapped(turn, np.full(k, 75.0), np.full(k, 75.0)).blurred(ours), floor=0.01 * noise)
    assert image.sum() == pytest.approx(theirs.sum(), rel=0.01)
    assert np.abs(image - theirs).max() < 0.2 * noise, (np.abs(image - theirs).max() / noise, theirs.max() / noise)


def test_mixtures_scale():
    made = Mixture(np.array([0.4, 0.6]), np.array([1.0, 4.0])).scaled(3.0)
    assert list(made.variances) == [9.0, 36.0]
