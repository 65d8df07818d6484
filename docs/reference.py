"""Write the reference of sources, stages, outputs and flags from what the package itself says about them."""

import inspect
import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from astrokeras import registry
from astrokeras.flags import DESCRIPTIONS, Flag
from astrokeras.images.language import Layout
from astrokeras.part_help import bases
from astrokeras.spec import Fields, PartitionSize, Site, Split
from astrokeras.stage import Configured, Output, Source, Stage
from astrokeras.surveys import SurveyMap

INTRODUCTIONS = {
    "sources": """\
Where rows come from: the ``source:`` of a pipeline. Every source takes ``where``, a condition on the rows that
enter.""",
    "stages": """\
What is done to the rows: the ``stages:`` of a pipeline, in their order. The same classes are called on tables
from Python. Every stage takes ``id`` (to tell two of a kind apart), ``where`` (the other rows get missing values
and the flag ``NOT_SELECTED``) and ``checkpoint`` (store the rows here).""",
    "outputs": """\
What is left at the end: the ``outputs:`` of a pipeline. Every output takes ``path``, ``columns`` (names, patterns
such as ``z_*``, and the groups ``ids``, ``positions`` and ``flags``) and ``where``, a condition on the rows that
are written.""",
}
# Pages of settings that are no parts of a chain: title, introduction, and models by the name they have in a file.
SETTINGS = {
    "sections": (
        "Sections of a pipeline",
        "What a pipeline file says besides its source, stages and outputs, and what a site file says.",
        {"fields": Fields, "split": Split, "partition": PartitionSize, "site file": Site},
    ),
    "survey_map": (
        "The language of survey maps",
        "What a file in ``catalogs/``, or a mapping under ``survey:`` in a pipeline, may say.",
        {"survey": SurveyMap},
    ),
    "image_layout": (
        "The language of layouts of images",
        "What a file in ``catalogs/images/``, or one that ``layout:`` names, may say.",
        {"layout": Layout},
    ),
}
KINDS = (Source, Stage, Output)


def write(folder: Path) -> None:
    """Write one page for each kind, and one for the flags, into ``folder``."""
    folder.mkdir(exist_ok=True)
    told = on_other_pages()
    for kind, introduction in INTRODUCTIONS.items():
        classes = [registry.lookup(kind, name) for name in registry.names(kind)]
        found = (base for cls in classes for model in (cls, *settings(cls)) for base in bases(model))
        told |= {*classes, *(model for cls in classes for model in settings(cls))}
        shared = [base for base in dict.fromkeys(found) if base not in told]
        told |= set(shared)
        described = [] if not shared else [heading("Shared parameters", "-"), *map(entry, shared)]
        parts = [heading(kind.capitalize(), "="), introduction, *describe(classes), *described]
        put(folder / f"{kind}.rst", "\n\n".join(parts))
    for page, (title, introduction, models) in SETTINGS.items():
        sections = [section(name, cls) for name, cls in models.items()]
        put(folder / f"{page}.rst", "\n\n".join([heading(title, "="), introduction, *sections]))
    put(folder / "flags.rst", flags())


def put(path: Path, text: str) -> None:
    """Write a page, unless it is the same: Sphinx rebuilds what is newer."""
    if not path.exists() or path.read_text(encoding="utf-8") != text + "\n":
        path.write_text(text + "\n", encoding="utf-8")


def heading(text: str, line: str) -> str:
    """Return a title with its line below."""
    return f"{text}\n{line * len(text)}"


def describe(classes: list[type[Configured]]) -> list[str]:
    """Sections of sources, stages or outputs, with labels such as ``stage-photoz``; settings stand with the first."""
    told = on_other_pages() | (set() if issubclass(classes[0], Source) else sources())
    sections = []
    for cls in classes:
        # A source may hold another one, which has a section of its own.
        inner = [model for model in settings(cls) if model not in told and model not in classes]
        told |= set(inner)
        head = [f".. _{kind_of(cls)}-{cls.name}:", heading(cls.name, "-"), entry(cls)]
        sections.append("\n\n".join([*head, *map(entry, inner)]))
    return sections


def on_other_pages() -> set[type[BaseModel]]:
    """Return the models that `SETTINGS` describes."""
    roots = [cls for _, _, models in SETTINGS.values() for cls in models.values()]
    return {*roots, *(inner for cls in roots for inner in settings(cls))}


def sources() -> set[type[BaseModel]]:
    """Return what the page of the sources describes; a stage may take a source as a parameter."""
    roots = [registry.lookup("sources", name) for name in registry.names("sources")]
    return {*roots, *(inner for cls in roots for inner in settings(cls))}


def section(title: str, cls: type[BaseModel]) -> str:
    """Section of one class, and of the settings that its parameters hold."""
    return "\n\n".join([heading(title, "-"), entry(cls), *map(entry, settings(cls))])


def kind_of(cls: type[Configured]) -> str:
    """Return ``source``, ``stage`` or ``output``."""
    return next(kind for kind in KINDS if issubclass(cls, kind)).__name__.lower()


def entry(cls: type[BaseModel]) -> str:
    """Docstring and table of parameters."""
    methods = [name for name in ("from_pretrained", "fit", "false_match_rate") if hasattr(cls, name)]
    members = f"\n   :members: {', '.join(methods)}" if methods else ""
    return f".. autoclass:: {cls.__module__}.{cls.__qualname__}{members}\n\n{parameters(cls)}"


def settings(cls: type[BaseModel]) -> list[type[BaseModel]]:
    """Models inside the parameters of ``cls``, such as the ``train:`` block, at any depth."""
    found = {}
    for field in cls.model_fields.values():
        for inner in models_in(field.annotation):
            found |= {inner: None} | dict.fromkeys(settings(inner))
    return list(found)


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the pydantic models that a type annotation names."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def parameters(cls: type[BaseModel]) -> str:
    """Table of parameters with type and default."""
    shared = {name for kind in KINDS if issubclass(cls, kind) for name in kind.model_fields}
    shared |= {name for base in bases(cls) for name in base.model_fields if name not in cls.__annotations__}
    rows = [("parameter", "type", "default")]
    for name, field in cls.model_fields.items():
        if name in shared:
            continue
        default = "required" if field.is_required() else f"``{default_of(field)!r}``"
        rows.append((f"``{field.alias or name}``", f"``{type_name(field.annotation)}``", default))
    return table(rows) if len(rows) > 1 else ""


def default_of(field) -> object:
    """Return the default value of a pydantic field."""
    return field.default_factory() if field.default is PydanticUndefined else field.default


def type_name(annotation: object) -> str:
    """Return a type annotation as a reader writes it, without the constraints."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(inner[0])
    if origin is typing.Literal:
        return " | ".join(map(repr, inner))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, inner))
    if inner:
        return f"{origin.__name__}[{', '.join(map(type_name, inner))}]"
    return {type(None): "None", Ellipsis: "..."}.get(annotation) or annotation.__name__


def table(rows: list[tuple[str, ...]]) -> str:
    """Return a list-table; the first row is its head."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if not i else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines)


def flags() -> str:
    """Page of the flags."""
    introduction = (
        "The column ``flags`` is an int32 bit mask: the sum of the bits below; 0 is a good object. An object with a "
        "flag stays in the table."
    )
    rows = [("bit", "name", "meaning")]
    rows += [(str(flag.value), f"``{flag.name}``", DESCRIPTIONS[flag]) for flag in Flag]
    return "\n\n".join([heading("Flags", "="), introduction, table(rows)])
