"""Names of sources, stages and outputs, and where their classes live.

Built-in classes are given as text, so that listing names imports none of them. Others come from packages that declare
an entry point in the groups ``astrokeras.sources``, ``astrokeras.stages`` or ``astrokeras.outputs``.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points

from .errors import AstrokerasError, did_you_mean

BUILTIN: dict[str, dict[str, str]] = {
    "sources": {
        "catalog": "astrokeras.ingest.catalog:Catalog",
        "images": "astrokeras.ingest.images:Images",
        "sky": "astrokeras.synthetic.sky:Sky",
        "exposures": "astrokeras.ingest.exposures:Exposures",
        "stamps": "astrokeras.ingest.stamps:Stamps",
        "synthetic": "astrokeras.synthetic.catalog:Synthetic",
        "tap": "astrokeras.ingest.tap:Tap",
    },
    "stages": {
        "background": "astrokeras.exposures.background:Background",
        "calibrate": "astrokeras.exposures.calibrate:Calibrate",
        "classify": "astrokeras.tasks.classify:Classify",
        "color_histogram": "astrokeras.features.color_profile:ColorHistogram",
        "color_profile": "astrokeras.features.color_profile:ColorProfile",
        "colors": "astrokeras.features.colors:Colors",
        "crossmatch": "astrokeras.ingest.crossmatch:Crossmatch",
        "cutouts": "astrokeras.ingest.cutouts:Cutouts",
        "forced_photometry": "astrokeras.ingest.forced:ForcedPhotometry",
        "extent": "astrokeras.features.extent:Extent",
        "hog": "astrokeras.features.hog:Hog",
        "magnitudes": "astrokeras.features.colors:Magnitudes",
        "morphology": "astrokeras.tasks.morphology:Morphology",
        "pca": "astrokeras.features.pca:Pca",
        "photoz": "astrokeras.tasks.photoz:PhotoZ",
        "pixels": "astrokeras.features.stamp_pixels:StampPixels",
        "psf": "astrokeras.exposures.psf:PSF",
        "shapes": "astrokeras.features.shapes:Shapes",
        "texture": "astrokeras.features.texture:Texture",
    },
    "outputs": {
        "votable": "astrokeras.export.votable:VOTable",
        "fits": "astrokeras.export.tables:Fits",
        "parquet": "astrokeras.export.tables:Parquet",
        "evaluate": "astrokeras.export.evaluate:Evaluate",
        "compare": "astrokeras.export.compare:Compare",
        "qp": "astrokeras.export.qp:Qp",
        "report": "astrokeras.export.report:Report",
        "coverage": "astrokeras.export.coverage:Coverage",
        "regions": "astrokeras.export.regions:Regions",
        "moc": "astrokeras.export.moc:Moc",
    },
}


@lru_cache(maxsize=8)
def names(kind: str) -> tuple[str, ...]:
    """Names of a kind: ``sources``, ``stages`` or ``outputs``."""
    found = {point.name for point in entry_points(group=f"astrokeras.{kind}")}
    return tuple(sorted(found | set(BUILTIN[kind])))


@lru_cache(maxsize=128)
def lookup(kind: str, name: str) -> type:
    """Return the class of a name.

    Raises
    ------
    AstrokerasError
        If there is none; suggests a near name.
    """
    if name in BUILTIN[kind]:
        module, attribute = BUILTIN[kind][name].split(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=f"astrokeras.{kind}"):
        if point.name == name:
            return point.load()
    raise AstrokerasError(f"no {kind[:-1]} named {name!r}{did_you_mean(name, names(kind))}")
