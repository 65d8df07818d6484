"""Kernels: loops over pixels that numba compiles to machine code."""

from __future__ import annotations

from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compile a function at its first call, and keep the code on disk where there is a place for it.

    numba looks for a folder beside the module, then in the user's cache (or in ``NUMBA_CACHE_DIR``). Where neither can
    be written, as in a read-only installation, every process compiles anew.
    Stored code is renewed when its own module changes, not when a kernel of another module does that it calls: after
    such a change, delete the ``*.nbi`` files.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(nogil=True, error_model="numpy")(function)
