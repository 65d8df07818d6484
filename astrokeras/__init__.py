"""astrokeras: survey catalogs and images in, science-ready columns out.

The names below are loaded when they are first used, so that ``import astrokeras`` stays instant.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Background": "astrokeras.exposures.background",
    "Catalog": "astrokeras.ingest.catalog",
    "Classify": "astrokeras.tasks.classify",
    "ColorHistogram": "astrokeras.features.color_profile",
    "ColorProfile": "astrokeras.features.color_profile",
    "Colors": "astrokeras.features.colors",
    "Crossmatch": "astrokeras.ingest.crossmatch",
    "Cutouts": "astrokeras.ingest.cutouts",
    "Exposures": "astrokeras.ingest.exposures",
    "Extent": "astrokeras.features.extent",
    "Hog": "astrokeras.features.hog",
    "Magnitudes": "astrokeras.features.colors",
    "Morphology": "astrokeras.tasks.morphology",
    "PSF": "astrokeras.exposures.psf",
    "Pca": "astrokeras.features.pca",
    "PhotoZ": "astrokeras.tasks.photoz",
    "Pipeline": "astrokeras.pipeline",
    "Shapes": "astrokeras.features.shapes",
    "Sky": "astrokeras.synthetic.sky",
    "StampPixels": "astrokeras.features.stamp_pixels",
    "Synthetic": "astrokeras.synthetic.catalog",
    "Texture": "astrokeras.features.texture",
    "canonical_table": "astrokeras.surveys",
}

__all__ = [
    "PSF",
    "Background",
    "Catalog",
    "Classify",
    "ColorHistogram",
    "ColorProfile",
    "Colors",
    "Crossmatch",
    "Cutouts",
    "Exposures",
    "Extent",
    "Hog",
    "Magnitudes",
    "Morphology",
    "Pca",
    "PhotoZ",
    "Pipeline",
    "Shapes",
    "Sky",
    "StampPixels",
    "Synthetic",
    "Texture",
    "canonical_table",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'astrokeras' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
