"""The date that goes into products and cards."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from .errors import AstrokerasError


def now() -> datetime:
    """Return the time (UTC), or that of SOURCE_DATE_EPOCH, which makes products reproducible.

    Raises
    ------
    AstrokerasError
        If SOURCE_DATE_EPOCH is no number of seconds since 1970.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError):
        raise AstrokerasError(f"SOURCE_DATE_EPOCH needs whole seconds since 1970, got {epoch!r}") from None
