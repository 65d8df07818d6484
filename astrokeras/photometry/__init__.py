"""Photometry: sky, noise and PSF of images, objects found in them, and their fluxes."""

from .detection import detect
from .forced import forced_photometry

__all__ = ["detect", "forced_photometry"]
