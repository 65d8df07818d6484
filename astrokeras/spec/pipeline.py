"""What a pipeline file comes to: its parts, and where in the file each value stands."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from ..errors import Problem, SpecError
from .nodes import Mapping, Node, Place, Scalar, Sequence, child, is_null
from .placeholders import finish, holds_field
from .settings import Fields, PartitionSize, Split
from .validation import validate

Address = tuple[str | int, ...]


@dataclass(frozen=True)
class Part:
    """A source, stage or output as written, before ``{field}`` is known."""

    address: Address
    label: str
    place: Place
    node: Node
    model: type[BaseModel]

    def bind(self, name: str | None, problems: list[Problem]) -> Any:
        """Return the validated part for one field, or None and problems."""
        return validate(self.model, finish(self.node, name), problems, self.label, self.place)


@dataclass(frozen=True)
class Bound:
    """The parts of a pipeline for one field (None: there is no fan-out)."""

    field: str | None
    source: Any
    stages: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class Pipeline:
    """A checked pipeline file.

    Attributes
    ----------
    name : str
        Of the pipeline; by default the file's, without its ending.
    file, here : str
        The file and its folder, as the user named them.
    fields : Fields or None
        The fan-out. `field_names` gives the names.
    source, stages, outputs
        The parts. With a fan-out they hold a placeholder (the first name of a list, else ``FIELD``) and are for checks
        only: `for_field` gives the real ones.
    split : Split or None
        How rows are divided for training and evaluation.
    partition : PartitionSize or None
        Size of the units of work.
    digest : str
        Of what the file and ``--set`` say (sha256). Comments, layout, quotes and the order of keys do not count, nor do
        the environment and the folder of the file.
    places : mapping
        Where each value stands: ``("stages", 0, "bands", 1)`` gives its `Place`.
    """

    name: str
    file: str
    here: str
    fields: Fields | None
    source: Any
    stages: tuple[Any, ...]
    outputs: tuple[Any, ...]
    split: Split | None
    partition: PartitionSize | None
    digest: str
    places: Dict[Address, Place] = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)

    def for_field(self, name: str | None = None) -> Bound:
        """Return the parts for one field; parts without ``{field}`` are the same objects for all.

        Raises
        ------
        SpecError
            If the name of the field does not fit a parameter that uses it.
        ValueError
            If a name is given to a pipeline without ``fields:``, or none to one with it.
        """
        if (name is None) != (self.fields is None):
            raise ValueError(f"{self.file} has {'a' if self.fields else 'no'} fan-out over fields, got field {name!r}")
        problems: list[Problem] = []
        ready = [self.source, *self.stages, *self.outputs]
        bound = [
            part.bind(name, problems) if holds_field(part.node) else done
            for part, done in zip(self.parts, ready, strict=True)
        ]
        if problems:
            raise SpecError(replace(p, message=f"{p.message} (field {name!r})") for p in problems)
        cut = 1 + len(self.stages)
        return Bound(name, bound[0], tuple(bound[1:cut]), tuple(bound[cut:]))

    def per_field(self, address: Address) -> bool:
        """Whether what stands at an address, such as ``("outputs", 0, "path")``, differs from field to field."""
        for part in self.parts:
            length = len(part.address)
            if address[:length] == part.address:
                node = descend(part.node, address[length:])
                return node is not None and holds_field(node)
        return False

    def stage_ids(self) -> tuple[str, ...]:
        """Return the id (else the name) of every stage; unique."""
        return tuple(given_id(part.node) or part.label for part in self.parts if part.address[0] == "stages")

    def problem(self, address: Address, message: str) -> Problem:
        """Return a problem at the place of an address or, if nothing was written there, of what should hold it."""
        while address and address not in self.places:
            address = address[:-1]
        return self.places.get(address, Place(self.file, 1, 1)).problem(message)


def descend(node: Node, steps: Address) -> Node | None:
    """Node at the end of some steps; None if nothing was written there."""
    found: Node | None = node
    for step in steps:
        found = child(found, step)
    return found


def given_id(node: Node) -> str | None:
    """Value of ``id`` among the parameters of a stage."""
    given = descend(node, ("id",))
    return given.text if isinstance(given, Scalar) and not is_null(given) else None


def walk(address: Address, node: Node, place: Place) -> Iterator[tuple[Address, Place]]:
    """Places of a node and all below it: of a value, or of the key of a list or mapping."""
    yield address, node.place if isinstance(node, Scalar) and node.text else place
    if isinstance(node, Mapping):
        for key, value in node.values.items():
            yield from walk((*address, key), value, node.keys[key])
    if isinstance(node, Sequence):
        for i, item in enumerate(node.items):
            yield from walk((*address, i), item, item.place)
