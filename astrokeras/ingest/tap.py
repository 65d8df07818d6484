"""Source ``tap``: rows that a service of the Virtual Observatory gives, fetched once and then read as a catalog."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Parameter

from ..errors import IngestError
from ..stage import Partition
from ..surveys.survey import all_located
from .catalog import Catalog, File


class Cone(BaseModel):
    """A circle on the sky, in degrees (ICRS)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ra: Annotated[float, Parameter(ge=0, lt=360)]
    dec: Annotated[float, Parameter(ge=-90, le=90)]
    radius: Annotated[float, Parameter(gt=0, le=180)]


class Tap(Catalog):
    """Rows of an archive, by a query in ADQL (TAP) or by a cone search.

    The answer is fetched once, when a run or a plan first needs it, and stored as it came. From then on it is a
    catalog like any other, read without the network: a rerun reads the stored file, whatever has changed in the
    archive. It is fetched again when ``as_of``, the query or the service changes, or when the stored file is removed
    (``astrokeras plan`` shows its path). ``check`` never touches the network.

    An answer that the service cut short (OVERFLOW) is an error, and so is an error message in the form of a table.

    Parameters
    ----------
    service : str
        Address of the TAP service, without ``/sync`` or ``/async``, or of the cone search.
    query : str, optional
        In ADQL. ``ORDER BY`` makes the order of the rows the same in every answer.
    cone : Cone, optional
        ``{ra, dec, radius}`` in degrees, for a cone search (SCS) instead of a query.
    mode : str
        ``sync`` waits for the answer; ``async`` runs a job on the service, for what takes minutes.
    maxrec : int, optional
        Rows to ask for at most; by default the service's own limit.
    truncated : bool
        Take an answer that the service cut short.
    as_of : str
        Any text, usually a date: another one fetches again.
    cache : str, optional
        Directory of the stored answers; by default ``astrokeras/tap`` in the user's cache directory.
    timeout : float
        Seconds to wait for an answer to begin, or for a job to end.
    retries : int
        How often to try again where the network or the service fails for the moment.
    survey, photometry, bands, deredden, ab_offsets, keep, where, table
        As for the source ``catalog``.

    Examples
    --------
    >>> source = Tap(service="https://archive.example.org/tap", survey="gaia-dr3",
    ...              query="SELECT TOP 100 * FROM gaia.dr3 ORDER BY source_id")
    >>> source.stored().name
    'ef376efce74fa2ce.vot'
    """

    name: ClassVar[str] = "tap"
    places: ClassVar[tuple[str, ...]] = (
        *("service", "query", "cone", "mode", "maxrec"),
        *("truncated", "as_of", "cache", "timeout", "retries"),
    )
    # The file is the stored answer, a VOTable: nothing is left to say about it.
    files: ClassVar[tuple[str, ...]] = ()
    hdu: ClassVar[None] = None
    delimiter: ClassVar[None] = None
    decimal: ClassVar[None] = None

    service: Annotated[str, Parameter(pattern=r"^https?://[^\s/]\S*$")]
    query: Annotated[str, Parameter(min_length=1)] | None = None
    cone: Cone | None = None
    mode: Literal["sync", "async"] = "sync"
    maxrec: Annotated[int, Parameter(ge=1)] | None = None
    truncated: bool = False
    as_of: str = ""
    cache: Annotated[str, Parameter(min_length=1)] | None = None
    timeout: Annotated[float, Parameter(gt=0)] = 600.0
    retries: Annotated[int, Parameter(ge=0, le=10)] = 3

    @model_validator(mode="after")
    def _one_way(self) -> Tap:
        problems: list[tuple[tuple[str, ...], str, Any]] = []
        if (self.query is None) == (self.cone is None):
            problems.append((("service",), "needs either `query` (ADQL) or `cone` (ra, dec, radius)", self.service))
        if self.cone is not None:
            given = [key for key in ("mode", "maxrec") if key in self.model_fields_set]
            problems += [((key,), "belongs to a `query`; a cone search has none", None) for key in given]
        if problems:
            raise all_located(problems)
        return self

    def stored(self) -> Path:
        """Path of the stored answer, named after the service, the query and ``as_of``."""
        asked = [self.service.rstrip("/?"), self.query, self.cone and self.cone.model_dump(), self.maxrec, self.as_of]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
        return Path(self.cache).expanduser() / f"{key}.vot" if self.cache else _cache() / f"{key}.vot"

    def _entries(self) -> tuple[File, ...]:
        return (File(path=str(self.stored())),)

    def partitions(self, max_rows: int) -> Iterator[Partition]:
        """Fetch what is not stored yet, and cut it into row ranges.

        Raises
        ------
        IngestError
            If the service does not answer, answers with an error or cut the answer short, or if the answer lacks a
            needed column.
        """
        path = self.stored()
        if not path.exists():
            from .services import Request, fetch

            cone = (self.cone.ra, self.cone.dec, self.cone.radius) if self.cone else None
            fetch(Request(self.service, self.query, cone, self.mode, self.maxrec, self.timeout, self.retries), path)
        if self._open(str(path)).truncated and not self.truncated:
            raise IngestError(
                f"{self.service}: the service cut the answer short (OVERFLOW), rows are lacking in {path}; raise "
                "`maxrec`, ask for less, try `mode: async`, or take it as it is with `truncated: true`"
            )
        yield from super().partitions(max_rows)


def _cache() -> Path:
    """User's directory for what can be fetched again (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astrokeras" / "tap"
