"""The pipeline file: read, checked against the parts it names, every problem reported at its line and column.

A file is read into nodes (`nodes`), ``--set`` values are put in (`overrides`), names in braces are expanded
(`placeholders`) and every part is validated (`validation`). What leaves this package is typed: sources, stages and
outputs never see YAML.
"""

from .nodes import Place
from .pipeline import Bound, Pipeline
from .reader import field_names, load, load_site
from .settings import Fields, FieldTable, PartitionSize, Site, Split

__all__ = [
    "Bound",
    "FieldTable",
    "Fields",
    "PartitionSize",
    "Pipeline",
    "Place",
    "Site",
    "Split",
    "field_names",
    "load",
    "load_site",
]
