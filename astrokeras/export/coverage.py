"""Coverage of a field by the training rows of a model."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field as Parameter
from pydantic import model_validator

from ..errors import ChunkError, did_you_mean
from ..fields import Field, by_name
from ..flags import Flag
from ..stage import Output, Product
from .atomic import replacing

if TYPE_CHECKING:
    from astropy.table import QTable

    from ..models.coverage import Coverage as Counts

LOG = logging.getLogger("astrokeras")


class Coverage(Output):
    """How well the training rows of a model cover a field in magnitude and color, as JSON.

    For each pair of neighbouring bands of the model, a plane of the color and of the magnitude in the second band (AB)
    is cut into cells of 0.25 by 0.5 mag. The report has the number of training rows and of rows of the field in each
    cell, the share of the field's rows in cells without any training row, and the share that chance would place there
    if the field were drawn like the training rows (Good 1953).

    Parameters
    ----------
    path : str
        The JSON file.
    model : str
        A model directory, or the name and version of a model that astrokeras finds.
    limit : float
        A warning says so where more than this share of the rows lies in cells without training rows.
    where : str, optional
        Rows to look at.
    """

    name: ClassVar[str] = "coverage"

    model: str
    limit: float = Parameter(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _no_columns(self) -> Self:
        if self.columns is not None:
            raise ValueError("coverage takes no columns: it knows which it needs")
        return self

    def inputs(self) -> tuple[str, ...]:
        """See `Configured.inputs`: the counts of the training rows."""
        from ..models.coverage import COVERAGE
        from ..models.library import find

        return (str(find(self.model) / COVERAGE),)

    def reads(self, available: tuple[Field, ...]) -> tuple[Field, ...]:
        """All fluxes of a band: which of them count is known only when the model is there.

        Raises
        ------
        ChunkError
            If there are fewer than two.
        """
        from ..fields import bands_of

        have = by_name(available)
        fluxes = tuple(have[f"flux_{band}"] for band in bands_of(have.values()))
        if len(fluxes) < 2:
            raise ChunkError(f"coverage: needs the fluxes of two bands or more, found {[f.name for f in fluxes]}")
        return fluxes

    def write(self, chunk: QTable, fields: tuple[Field, ...], piece: Path) -> dict[str, Any]:
        """Count the rows of a partition in the cells of the model."""
        from ..chunk import values
        from ..models.coverage import count

        planes = [plane.bands for plane in self._training().planes]
        known = by_name(fields)
        fluxes = {}
        for band in dict.fromkeys(b for pair in planes for b in pair):
            name = f"flux_{band}"
            if name not in known:
                raise ChunkError(f"coverage: no column {name!r}{did_you_mean(name, known)}")
            column = values(chunk[name], known[name].unit, f"coverage: column {name!r}")
            fluxes[band] = np.ma.filled(np.ma.asanyarray(column, dtype=float), np.nan)
        with replacing(piece, sync=False) as stream:
            stream.write(count(fluxes, planes).model_dump_json().encode())
        return {"rows": len(chunk)}

    def _training(self) -> Counts:
        from ..models.coverage import read_coverage
        from ..models.library import find

        return read_coverage(find(self.model))

    def close(self, pieces: list[tuple[Path, dict[str, Any]]], product: Product) -> None:
        """Add up and compare; see `Output.close`."""
        from ..models.coverage import Coverage as Counts
        from ..models.coverage import compare, count

        training = self._training()
        target = count({b: np.zeros(0) for p in training.planes for b in p.bands}, [p.bands for p in training.planes])
        for piece, _ in pieces:
            target = target + Counts.model_validate_json(piece.read_bytes())
        planes = compare(training, target)
        warnings = [self._said(plane) for plane in planes if (plane["outside"] or 0) > self.limit]
        for warning in warnings:
            LOG.warning("%s: %s", product.path.name, warning)
        flags = product.provenance.get("flags", {})
        report = {
            "model": self.model,
            "rows": sum(facts["rows"] for _, facts in pieces),
            "out_of_domain": flags.get(Flag.OUT_OF_DOMAIN.name, 0),
            "warnings": warnings,
            "planes": planes,
            "provenance": dict(product.provenance),
        }
        with replacing(product.path) as stream:
            stream.write(json.dumps(report, ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n")

    def _said(self, plane: dict[str, Any]) -> str:
        color = " - ".join(plane["color"])
        return (
            f"{plane['outside']:.1%} of {plane['target']} rows lie where there is no training row in {color} and "
            f"{plane['magnitude']}; {plane['expected_outside']:.1%} would if they were drawn like the training rows"
        )
