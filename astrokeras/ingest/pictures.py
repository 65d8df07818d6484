"""JPEG and PNG pictures as pixels from 0 to 1."""

from __future__ import annotations

import warnings

import numpy as np

from ..errors import IngestError

#: Pixels of a picture, at most: a small file can hold a huge one.
MAX_PIXELS = 2**26
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def is_picture(path: str) -> bool:
    """Whether a file begins like a JPEG or PNG picture.

    Raises
    ------
    IngestError
        If it cannot be opened.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read(8).startswith(MAGIC)
    except OSError as error:
        raise IngestError(f"{path}: {error.strerror}") from None


def read_picture(path: str, channels: int) -> np.ndarray:
    """Pixels of a picture.

    Parameters
    ----------
    path : str
        JPEG or PNG.
    channels : int
        3 for red, green and blue; 1 for grey.

    Returns
    -------
    ndarray
        ``(y, x, channel)`` float32 from 0 to 1; the first row is the lowest one of the picture, as in a FITS image.

    Raises
    ------
    IngestError
        If it cannot be read, or has more pixels than allowed.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=("JPEG", "PNG"))
        with picture:
            width, height = picture.size
            if width * height <= MAX_PIXELS:
                return _pixels(picture, channels)[::-1]
    except UnidentifiedImageError:
        raise IngestError(f"{path}: is no JPEG or PNG picture") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise IngestError(f"{path}: cannot be read as a picture (damaged or truncated?): {error}") from None
    raise IngestError(f"{path}: {width} by {height} pixels are more than the {MAX_PIXELS} allowed")


def _pixels(picture, channels: int) -> np.ndarray:
    if picture.mode.startswith("I") and channels == 1:
        # PNG of 16 bits.
        return (np.asarray(picture, np.float32) / 65535)[..., None]
    array = np.asarray(picture.convert("RGB" if channels == 3 else "L"), np.float32) / 255
    return array.reshape(*array.shape[:2], channels)
