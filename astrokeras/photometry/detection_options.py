"""Settings of detection and photometry, shared by the source ``images``, the stage and the functions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as Parameter

from ..fields import Field, flux_field

Diameter = Annotated[float, Parameter(gt=0, le=600)]


class SkyOptions(BaseModel):
    """What is done about the sky of images.

    Parameters
    ----------
    background : bool
        Subtract the sky. False where it was subtracted well; its noise is measured in any case.
    box : int
        Pixels on a side of the boxes of the sky; large against objects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    background: bool = True
    box: int = Parameter(default=128, ge=16, le=4096)


class DetectionOptions(SkyOptions):
    """How objects are found in images and measured, besides what `SkyOptions` says.

    Parameters
    ----------
    threshold : float
        Sigmas of the noise of a pixel above which an image, smoothed with the width of the PSF, has an object.
    min_pixels : int
        Connected pixels that make an object.
    smooth : float, optional
        FWHM in pixels of the Gaussian that smooths; by default that of the PSF.
    combine : {"mean", "chi"}
        Of several detection bands: their mean weighted with the inverse variance, or their chi image.
    deblend : bool
        Separate objects that overlap.
    contrast : float
        Least part of the light of a blend that makes an object of its own.
    apertures : tuple of float
        Diameters in arcsec of further apertures, ``flux_ap20_{band}`` for 2.0.
    color_fwhm : float, optional
        FWHM in arcsec of the Gaussian aperture of the colour photometry; by default that of the broadest PSF.
    pixel_scale : float, optional
        In arcsec, of images without WCS.
    tile : int
        Rows and columns of a tile, which bounds memory.
    overlap : int
        Pixels seen around a tile; at least the extent of the objects.
    """

    threshold: float = Parameter(default=1.5, gt=0, le=1000)
    min_pixels: int = Parameter(default=5, ge=1, le=10_000)
    smooth: float | None = Parameter(default=None, gt=0, le=100)
    combine: Literal["mean", "chi"] = "mean"
    deblend: bool = True
    contrast: float = Parameter(default=0.001, ge=0, le=1)
    apertures: tuple[Diameter, ...] = ()
    color_fwhm: float | None = Parameter(default=None, gt=0, le=60)
    pixel_scale: float | None = Parameter(default=None, gt=0, le=60)
    tile: int = Parameter(default=2048, ge=64, le=16_384)
    overlap: int = Parameter(default=160, ge=16, le=4096)

    @field_validator("apertures")
    @classmethod
    def _names_differ(cls, apertures: tuple[float, ...]) -> tuple[float, ...]:
        names = [aperture_name(diameter) for diameter in apertures]
        if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
            alike = " and ".join(f"{d:g}" for d, name in zip(apertures, names, strict=True) if name == twice)
            raise ValueError(f"{alike} would both be {twice}: columns are named by tenths of an arcsec")
        return apertures


def aperture_name(diameter: float) -> str:
    """Part of a column's name for an aperture: ``ap20`` for 2.0 arcsec, ``ap125`` for 12.5."""
    return f"ap{round(10 * diameter)}"


def photometry_fields(
    bands: tuple[str, ...], filters: dict[str, str], apertures: tuple[float, ...], unit: str = "nJy"
) -> tuple[Field, ...]:
    """Fields of all fluxes, band by band."""
    kinds = {"": "aperture", "total": "kron", "psf": "psf"}
    kinds |= {aperture_name(d): f"aperture {d:g} arcsec" for d in apertures}
    out = []
    for band in bands:
        for measure, kind in kinds.items():
            facts = {"filter": filters.get(band), "photometry": kind, "dereddened": "no"}
            error = f"err_{measure}" if measure else "err"
            out += [flux_field(band, m, **facts).model_copy(update={"unit": unit}) for m in (measure, error)]
    return tuple(out)


def shape_fields() -> tuple[Field, ...]:
    """Fields of pixel positions and shapes."""
    angle = "Position angle of the major axis, from north to east (without WCS: from rows to negative columns)"
    place = "in the image of the first detection band, from 0"
    rows = (
        ("x", "pix", f"Column {place}", "pos.cartesian.x"),
        ("y", "pix", f"Row {place}", "pos.cartesian.y"),
        ("half_light_radius", "arcsec", "Radius that holds half of the Kron flux", "phys.angSize"),
        ("semi_major", "arcsec", "Rms width along the major axis", "phys.angSize.smajAxis"),
        ("semi_minor", "arcsec", "Rms width along the minor axis", "phys.angSize.sminAxis"),
        ("kron_radius", "arcsec", "Semi-major axis of the Kron aperture", "phys.angSize"),
        ("ellipticity", "", "1 - semi_minor / semi_major", "src.ellipticity"),
        ("theta", "deg", angle, "pos.posAng"),
        ("snr", "", "Colour flux of the detection bands over its error", "stat.snr"),
    )
    return tuple(
        Field(name=name, kind="f8" if name in "xy" else "f4", unit=unit, description=said, ucd=ucd)
        for name, unit, said, ucd in rows
    )
