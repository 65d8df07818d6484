"""Survey maps: how the columns of a survey become canonical columns."""

from .guessing import Guess, guess
from .library import find, load, names
from .request import Request
from .survey import SurveyMap
from .tables import canonical_table, request

__all__ = ["Guess", "Request", "SurveyMap", "canonical_table", "find", "guess", "load", "names", "request"]
