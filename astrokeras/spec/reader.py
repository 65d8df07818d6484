"""Reads a pipeline file and a site file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from collections.abc import Mapping as Dict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from .. import registry
from ..errors import AstrokerasError, Problem, SpecError, did_you_mean
from .fanout import expand_fields
from .nodes import Mapping, Node, Place, Scalar, Sequence, is_null, plain, read_yaml
from .overrides import apply
from .pipeline import Address, Part, Pipeline, descend, given_id, walk
from .placeholders import LATER, Names, expand, finish, variables
from .settings import Fields, PartitionSize, Settings, Site, Split
from .validation import validate

#: Version of the format that this module reads.
FORMAT = 1
#: Sections of a pipeline file.
SECTIONS = ("astrokeras", "name", "vars", "fields", "source", "split", "partition", "stages", "outputs")
#: Field that stands in for names which only a run knows.
PLACEHOLDER = "FIELD"

_NAME = re.compile(r"\w[\w.+-]{0,99}")
_ID = re.compile(r"[A-Za-z_][\w-]{0,99}")


def load(path: str | os.PathLike, sets: Iterable[str] = (), env: Dict[str, str] | None = None) -> Pipeline:
    """Read and check a pipeline file.

    Parameters
    ----------
    path : path-like
        The YAML file.
    sets : iterable of str
        Values that replace those in the file: ``"stages.photoz.batch=512"``.
    env : mapping, optional
        What ``${NAME}`` stands for; by default the environment.

    Raises
    ------
    SpecError
        With all problems found.
    """
    problems: list[Problem] = []
    root = apply(_root(str(path), problems), sets, SECTIONS[1:], problems)
    pipeline = _Reader(root, str(path), os.environ if env is None else env, problems).pipeline()
    if problems:
        raise SpecError(problems)
    return pipeline


def load_site(path: str | os.PathLike, env: Dict[str, str] | None = None) -> Site:
    """Read a site file: how to run, which cannot change results.

    Raises
    ------
    SpecError
        With all problems found.
    """
    problems: list[Problem] = []
    names = Names({}, os.environ if env is None else env, later=())
    node = finish(expand(_root(str(path), problems), names, problems), None)
    site = validate(Site, node, problems, "site", Place(str(path), 1, 1))
    if problems:
        raise SpecError(problems)
    return site


def field_names(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the names of the fields, read now from the list, the folders or the table; none without ``fields:``.

    Raises
    ------
    SpecError
        If there are none, or a name is unusable.
    """
    if pipeline.fields is None:
        return ()
    try:
        return expand_fields(pipeline.fields)
    except AstrokerasError as error:
        raise SpecError([pipeline.problem(("fields",), f"fields: {error}")]) from None


def _root(file: str, problems: list[Problem]) -> Mapping:
    """Top-level mapping of a file. Raises SpecError if there is none, because nothing else can be said then."""
    node = read_yaml(file, problems)
    if isinstance(node, Mapping):
        return node
    if node is not None:
        problems.append(node.place.problem("needs a mapping {name: value} at the top"))
    raise SpecError(problems)


class _Reader:
    """Reads the sections of one file and collects what is wrong with them."""

    def __init__(self, root: Mapping, file: str, env: Dict[str, str], problems: list[Problem]):
        self.root, self.file, self.problems = root, file, problems
        self.start = Place(file, 1, 1)
        self.here = str(Path(file).parent)
        self.names = variables(root.values.get("vars"), self.here, env, problems)
        self.parts: list[Part] = []
        self.places: dict[Address, Place] = {}

    def pipeline(self) -> Pipeline | None:
        """Return the pipeline; None only where there are problems."""
        self.top_level()
        name = self.name()
        fields = self.fields()
        later = LATER if "fields" in self.root.values else LATER[1:]
        self.names = Names(self.names.values, self.names.env, later)
        split = self.section("split", Split)
        partition = self.section("partition", PartitionSize)
        self.source()
        self.entries("stages")
        self.entries("outputs")
        self.unique_ids()
        self.unique_paths()
        field = None if "fields" not in self.root.values else PLACEHOLDER
        if fields is not None and fields.names is not None:
            field = fields.names[0]
        bound = {part.address: self.bind(part, field) for part in self.parts}
        if self.problems:
            return None
        return Pipeline(
            name=name,
            file=self.file,
            here=self.here,
            fields=fields,
            source=bound["source",],
            stages=tuple(part for address, part in bound.items() if address[0] == "stages"),
            outputs=tuple(part for address, part in bound.items() if address[0] == "outputs"),
            split=split,
            partition=partition,
            digest=hashlib.sha256(json.dumps(plain(self.root), sort_keys=True).encode()).hexdigest(),
            places=self.places,
            parts=tuple(self.parts),
        )

    def add(self, place: Place, message: str) -> None:
        self.problems.append(place.problem(message))

    def top_level(self) -> None:
        """Check the format, and the names of the sections."""
        for key, place in self.root.keys.items():
            if key not in SECTIONS:
                self.add(place, f"unknown section '{key}'{did_you_mean(key, SECTIONS)}")
        version = self.root.values.get("astrokeras")
        if version is None:
            self.add(self.start, f"the format is missing: the file needs a line 'astrokeras: {FORMAT}'")
        elif plain(version) != FORMAT or isinstance(plain(version), bool):
            self.add(version.place, f"astrokeras: this version reads format {FORMAT} only")
        if "source" not in self.root.values:
            self.add(self.start, f"'source' is required: {{name: parameters}}{_allowed('sources')}")

    def name(self) -> str:
        node = self.ready("name", LATER[:0])
        if node is None:
            return re.sub(r"[^\w.+-]+", "-", Path(self.file).stem).lstrip(".+-") or "pipeline"
        if isinstance(node, Scalar) and _NAME.fullmatch(node.text):
            return node.text
        self.add(node.place, "name: needs one word of letters, digits, '_', '-', '+' and '.'; it names a folder")
        return ""

    def fields(self) -> Fields | None:
        node = self.ready("fields", LATER[:0])
        if node is None:
            return None
        if isinstance(node, Sequence):
            node = Mapping(node.place, {"names": node}, {"names": node.place})
        elif not isinstance(node, Mapping) or "names" in node.values:
            self.add(node.place, "fields: needs a list of names, {glob: pattern} or {table: {path: ..., column: ...}}")
            return None
        return validate(Fields, node, self.problems, "fields", self.root.keys["fields"])

    def section(self, key: str, model: type[Settings]) -> Any:
        """Return a validated section, or None if it is absent."""
        node = self.ready(key, LATER[:0])
        return None if node is None else validate(model, node, self.problems, key, self.root.keys[key])

    def ready(self, key: str, later: tuple[str, ...]) -> Node | None:
        """Section with all names expanded; its places are noted."""
        if key not in self.root.values or is_null(self.root.values[key]):
            return None
        node = expand(self.root.values[key], Names(self.names.values, self.names.env, later), self.problems)
        self.places.update(walk((key,), node, self.root.keys[key]))
        return finish(node, None)

    def source(self) -> None:
        if "source" in self.root.values:
            node = expand(self.root.values["source"], self.names, self.problems)
            self.entry(("source",), "sources", node, self.root.keys["source"])

    def entries(self, kind: str) -> None:
        """Read the list of stages or outputs."""
        node = self.root.values.get(kind)
        if node is None or is_null(node):
            return
        node = expand(node, self.names, self.problems)
        self.places[kind,] = self.root.keys[kind]
        if not isinstance(node, Sequence):
            self.add(node.place, f"{kind}: needs a list of '- name: {{parameters}}'")
            return
        for i, item in enumerate(node.items):
            self.entry((kind, i), kind, item, item.place)

    def entry(self, address: Address, kind: str, node: Node, place: Place) -> None:
        """Read one part: a mapping of its name to its parameters, or just its name."""
        if isinstance(node, Scalar) and not is_null(node):
            name, inside, place = node.text, Scalar("", node.place), node.place
        elif isinstance(node, Mapping) and len(node.values) == 1:
            name, inside = next(iter(node.values.items()))
            place = node.keys[name]
        else:
            found = ", ".join(node.values) if isinstance(node, Mapping) else "nothing"
            at = node.place if isinstance(node, Mapping) else place
            # Parameters as far left as the name: they are keys beside it, not below.
            hint = "; indent parameters further than the name" if isinstance(node, Mapping) and node.values else ""
            self.add(at, f"needs one '{kind[:-1]}: {{parameters}}', got {found or 'nothing'}{hint}")
            return
        self.places.update(walk(address, inside, place))
        self.places[address] = place
        model = self.lookup(kind, name, place)
        if model is not None:
            self.parts.append(Part(address, name, place, inside, model))

    def lookup(self, kind: str, name: str, place: Place) -> type[BaseModel] | None:
        """Class of a part; what cannot be imported is a problem of the file's environment, and said at its line."""
        try:
            model = registry.lookup(kind, name)
        except AstrokerasError as error:
            self.add(place, str(error))
            return None
        except (ImportError, AttributeError) as error:
            self.add(place, f"{kind[:-1]} '{name}' cannot be imported: {error}")
            return None
        if isinstance(model, type) and issubclass(model, BaseModel):
            return model
        self.add(place, f"{kind[:-1]} '{name}' is no class of parameters, but {model!r}")
        return None

    def bind(self, part: Part, field: str | None) -> Any:
        """Validate a part; at a place that has a problem already, what follows from it is not reported."""
        known = {(p.file, p.line, p.column) for p in self.problems}
        found: list[Problem] = []
        instance = part.bind(field, found)
        self.problems += [p for p in found if (p.file, p.line, p.column) not in known]
        return instance

    def unique_ids(self) -> None:
        """Check that the stages can be told apart."""
        seen: dict[str, Place] = {}
        for part in self.parts:
            if part.address[0] != "stages":
                continue
            given = given_id(part.node)
            key = given or part.label
            if given and not _ID.fullmatch(given):
                self.add(part.place, f"{part.label}: id '{given}' needs letters, digits, '_' and '-'")
            if key in seen:
                again = "has the id" if given else "is the second of that name; give it an 'id:', because there is"
                self.add(part.place, f"{part.label}: {again} '{key}' already on line {seen[key].line}")
            seen.setdefault(key, part.place)

    def unique_paths(self) -> None:
        """Check that no two parts write the same file, and that the pipeline writes at all."""
        seen: dict[str, Place] = {}
        for part in self.parts:
            key = {"stages": "save", "outputs": "path"}.get(part.address[0])
            node = descend(part.node, (key,)) if key else None
            if not isinstance(node, Scalar) or is_null(node):
                continue
            path = os.path.normpath(node.text)
            if path in seen:
                self.add(node.place, f"{part.label}.{key}: '{node.text}' is already written on line {seen[path].line}")
            seen.setdefault(path, node.place)
        if not seen and not self.problems and not plain(self.root.values.get("outputs", Scalar("", self.start))):
            self.add(self.start, "the pipeline makes nothing: it has no outputs, and no stage with 'save'")


def _allowed(kind: str) -> str:
    return did_you_mean("", registry.names(kind))
