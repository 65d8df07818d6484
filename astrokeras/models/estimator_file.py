"""Reading and writing of ``model.skops``: a scikit-learn estimator and a few arrays, without pickle."""

from __future__ import annotations

import json
import warnings
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from .estimator_allowed import TRUSTED

ESTIMATOR = "model.skops"


def write_estimator(path: Path, content: dict[str, Any]) -> None:
    """Write an estimator with its arrays.

    Parameters
    ----------
    path : Path
        Ends in ``.skops``.
    content : dict
        ``estimator``, fitted, and numpy arrays.
    """
    from skops import io

    io.dump(content, path)


def read_estimator(path: Path) -> dict[str, Any]:
    """Read what `write_estimator` wrote; only after `astrokeras.models.estimator_inspect.inspect_estimator`.

    Raises
    ------
    ModelError
        If scikit-learn cannot make the estimator.
    """
    from sklearn.exceptions import InconsistentVersionWarning
    from skops import io

    try:
        with warnings.catch_warnings():
            # Another version is dealt with by whoever loads: the golden rows tell.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            content = io.load(path, trusted=list(TRUSTED))
    except (ArithmeticError, AttributeError, ImportError, LookupError, OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: scikit-learn {version('scikit-learn')} cannot load it ({error})") from error
    arrays = {k: v for k, v in content.items() if k != "estimator"} if isinstance(content, dict) else {}
    if not arrays or "estimator" not in content or not all(isinstance(v, np.ndarray) for v in arrays.values()):
        raise ModelError(f"{path}: holds not an estimator and its arrays")
    return content


def written_with(path: Path) -> str:
    """Version of scikit-learn that made the estimator, as the file says; empty if it does not."""
    with zipfile.ZipFile(path) as archive:
        schema = json.loads(archive.read("schema.json"))
    try:
        return json.loads(schema["content"]["estimator"]["content"]["content"]["_sklearn_version"]["content"])
    except (KeyError, TypeError, ValueError):
        return ""
