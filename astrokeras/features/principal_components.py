"""Principal components from moments that are gathered a block of rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import TrainingError

if TYPE_CHECKING:
    from ..models.projection import Projection

#: Numbers in a row, at most: the covariance of so many takes 537 MB.
MAX_WIDTH = 8192
#: Numbers in a block of rows.
_BLOCK = 1 << 22


class Moments:
    """Number, mean and scatter matrix of rows, exact to rounding; memory does not grow with the rows.

    Blocks are merged as in Chan, Golub & LeVeque (1979, Stanford STAN-CS-79-773): no sum of squares is taken about
    zero, so that pixels on a bright sky lose no digits.

    Parameters
    ----------
    width : int
        Numbers in a row.
    """

    def __init__(self, width: int):
        self.count = 0
        self.mean = np.zeros(width)
        self.scatter = np.zeros((width, width))

    def add(self, rows: np.ndarray) -> None:
        """Take rows ``(n, width)`` into account."""
        step = max(1, _BLOCK // max(1, len(self.mean)))
        for start in range(0, len(rows), step):
            self._merge(np.asarray(rows[start : start + step], np.float64))

    def _merge(self, rows: np.ndarray) -> None:
        n, total = len(rows), self.count + len(rows)
        mean = rows.mean(axis=0)
        centred, shift = rows - mean, mean - self.mean
        self.scatter += centred.T @ centred
        self.scatter += np.outer(shift, shift * (self.count * n / total))
        self.mean += shift * (n / total)
        self.count = total


def principal_components(
    moments: Moments, count: int, whiten: bool = False, scale: bool = False
) -> tuple[Projection, np.ndarray]:
    """Principal components of rows, as `sklearn.decomposition.PCA` gives them.

    Parameters
    ----------
    moments : Moments
        Of the training rows.
    count : int
        Number of components, by falling variance.
    whiten : bool
        Divide the components by their standard deviations (n - 1 degrees of freedom).
    scale : bool
        Divide the numbers by their standard deviations (n degrees of freedom) first; one that is constant is left as it
        is.

    Returns
    -------
    projection : Projection
        The sign of a component is that which makes its largest element positive.
    ratios : ndarray of float64, shape (count,)
        Share of the variance that each component explains.

    Raises
    ------
    TrainingError
        If the rows are too few, or vary along fewer directions.

    Examples
    --------
    >>> moments = Moments(2)
    >>> moments.add(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [2.0, 2.1]]))
    >>> projection, ratios = principal_components(moments, 1)
    >>> projection.components.round(1), ratios.round(3)
    (array([[0.7, 0.7]]), array([0.999]))
    """
    from scipy.linalg import eigh

    from ..models.projection import Projection

    width = len(moments.mean)
    if count > min(width, moments.count - 1):
        raise TrainingError(
            f"pca: {count} components need as many numbers and one more row; there are {width} numbers and "
            f"{moments.count} training rows that miss nothing"
        )
    spread = _spread(moments) if scale else np.ones(width)
    covariance = moments.scatter / (moments.count - 1)
    covariance /= spread[:, None]
    covariance /= spread
    total = np.trace(covariance)
    variance, found = eigh(covariance, subset_by_index=(width - count, width - 1), overwrite_a=True)
    variance, components = variance[::-1], found.T[::-1]
    rank = np.count_nonzero(variance > width * np.finfo(np.float64).eps * max(variance[0], 0.0))
    if rank < count:
        raise TrainingError(f"pca: the training rows vary in fewer than {count} directions, in {rank}")
    rows = np.arange(count)
    signs = np.sign(components[rows, np.abs(components).argmax(axis=1)])
    divisor = np.sqrt(variance) if whiten else np.ones(count)
    projection = Projection(moments.mean.copy(), spread, signs[:, None] * components, divisor)
    return projection, variance / total


def _spread(moments: Moments) -> np.ndarray:
    """Standard deviations, 1 where a number is constant."""
    spread = np.sqrt(np.diag(moments.scatter) / moments.count)
    constant = spread <= 10 * np.finfo(np.float64).eps * np.abs(moments.mean)
    return np.where(constant, 1.0, spread)
