"""astrokeras: survey catalogs and images in, science-ready columns out.

The names below are loaded when they are first used, so that ``import astrokeras`` stays instant.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Classify": "astrokeras.tasks.classify",
    "Colors": "astrokeras.features.colors",
    "Crossmatch": "astrokeras.ingest.crossmatch",
    "Cutouts": "astrokeras.ingest.cutouts",
    "Extent": "astrokeras.features.extent",
    "Magnitudes": "astrokeras.features.colors",
    "Morphology": "astrokeras.tasks.morphology",
    "PhotoZ": "astrokeras.tasks.photoz",
    "Pipeline": "astrokeras.pipeline",
    "canonical_table": "astrokeras.surveys",
}

__all__ = [
    "Classify",
    "Colors",
    "Crossmatch",
    "Cutouts",
    "Extent",
    "Magnitudes",
    "Morphology",
    "PhotoZ",
    "Pipeline",
    "canonical_table",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'astrokeras' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
