"""Conditions over columns, such as ``clean == 1 and 14 < r < 19.5``: parsed to allowed nodes, never ``eval``-ed."""

from .evaluation import Expression
from .grammar import FUNCTIONS

__all__ = ["FUNCTIONS", "Expression"]
