"""The table of a FITS file: found, and measured against the size of the file, before any data is read."""

from __future__ import annotations

from ..errors import IngestError
from ..fits_hdus import HDU, check_size, hdus
from ..packing import READ_ERRORS, open_packed

TABLES = ("BINTABLE", "TABLE", "A3DTABLE")


def table_hdu(path: str, wanted: int | str | None) -> HDU:
    """Find the table of a FITS file.

    Parameters
    ----------
    wanted : int, str or None
        Number or name; by default the HDU LDAC_OBJECTS of FITS_LDAC, or the only table.

    Raises
    ------
    IngestError
        If there is none, several, or the file ends before its data.
    """
    try:
        with open_packed(path) as stream:
            found = list(hdus(path, stream))
            chosen = _chosen(path, found, wanted)
            check_size(path, stream, chosen)
    except READ_ERRORS as error:
        raise IngestError(f"{path}: cannot be read to its end (damaged or truncated?): {error}") from None
    return chosen


def _chosen(path: str, hdus: list[HDU], wanted: int | str | None) -> HDU:
    tables = [h for h in hdus if h.kind in TABLES]
    have = ", ".join(f"{h.index} {h.name or '(no name)'}" for h in tables) or "none"
    if wanted is None:
        ldac = [h for h in tables if h.name.upper() == "LDAC_OBJECTS"]
        found = ldac or tables
        if not tables:
            raise IngestError(f"{path}: has {len(hdus)} HDU{'s' if len(hdus) > 1 else ''} and no table")
        if len(found) > 1:
            raise IngestError(f"{path}: has several tables; name one with `hdu:` ({have})")
        return found[0]
    same = [h for h in hdus if wanted == h.index or str(wanted).upper() == h.name.upper()]
    if len(same) != 1 or same[0].kind not in TABLES:
        what = (
            "no"
            if not same
            else (f"no table in the {same[0].kind.lower()}" if len(same) == 1 else "several of the name")
        )
        raise IngestError(f"{path}: has {what} HDU {wanted!r}; tables: {have}")
    return same[0]
