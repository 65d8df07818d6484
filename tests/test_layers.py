"""The shape of the package, from its syntax trees: who may import whom and what, and how long and deep code may be.

Nothing is imported, so a function-level import counts as much as one at the top of a module.
"""

import ast
import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "astrokeras"

# Bottom up. A module may import from its own layer and from those before it.
LAYERS = (
    {
        "errors",
        "dates",
        "flags",
        "metrics",
        "densities",
        "conformal",
        "probabilities",
        "class_metrics",
        "priors",
        "layers",
        "resources",
        "packing",
        "fits_hdus",
    },
    {"fields", "units", "registry", "spec", "executors", "networks", "expression", "split", "identifiers"},
    {"chunk", "surveys", "images", "photometry"},
    {"stage", "trainable", "store", "models"},
    {"targets", "walk", "plan", "ingest", "exposures", "features", "tasks", "export", "synthetic"},
    {"provenance", "progress", "file_digests", "links", "tallies", "work", "testing"},
    {"runner", "barrier", "chains", "outputs", "training_rows"},
    {"cli", "commands", "field_commands", "product_commands", "part_help", "pipeline"},
    {"__init__", "__main__"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

# Stages, sources and outputs are callable without a pipeline, and a plan knows them by their contract only.
STAGES = {"ingest", "exposures", "features", "tasks", "export", "synthetic"}
FORBIDDEN_PAIRS = {(part, above) for part in STAGES | {"stage"} for above in ("plan", "runner", "spec", "executors")}
FORBIDDEN_PAIRS |= {("plan", part) for part in STAGES}

# Third-party (and unsafe standard) libraries, and the only parts that may import them.
KERAS = {"layers", "networks", "models", "tasks"}
PIXELS = {"images", "ingest", "features", "synthetic"}
TABLES = {"ingest", "store", "export"}
LIBRARIES = {
    "keras": KERAS,
    "tensorflow": KERAS,
    "sklearn": {"models", "tasks"},
    "skops": {"models"},
    "optuna": {"tasks"},
    "dask": {"executors"},
    "distributed": {"executors"},
    "dask_jobqueue": {"executors"},
    "ruamel": {"spec", "surveys"},
    "matplotlib": {"export"},
    "jinja2": {"export"},
    "pandas": TABLES,
    "pyarrow": TABLES,
    "yaml": set(),
    "pyvo": {"ingest", "export"},
    "requests": {"ingest"},
    "qp": {"export"},
    "mocpy": {"export"},
    "rail": set(),  # the plug-in lies outside of the package, in rail/
    "pickle": {"testing"},  # tests that a stage can be sent to a worker
    "joblib": set(),
    "photutils": {"photometry"},
    "skimage": PIXELS,
    "numba": PIXELS,
    "reproject": PIXELS,
    "PIL": PIXELS,
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base"}
FORBIDDEN_CALLS = {"eval", "exec"}
BROAD_EXCEPT = {"runner": 1}

MODULE_LINES = 300
FUNCTION_LINES = 50
NESTING = 3
BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """A parsed file; ``name`` is relative to the package: ``tasks.photoz``, ``tasks`` for its ``__init__``."""

    path: Path
    name: str
    tree: ast.Module
    lines: int

    @property
    def part(self) -> str:
        return self.name.split(".")[0]


def parse(package: Path) -> dict[str, Module]:
    """Parse every module of ``package``."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package).with_suffix("").parts
        name = ".".join(relative[:-1] if relative[-1] == "__init__" and len(relative) > 1 else relative)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(path, name, ast.parse(text, str(path)), len(text.splitlines()))
    return modules


def imported(module: Module, package: str):
    """Yield (line, full dotted name) of every import, relative ones resolved; one for each name of a ``from``."""
    here = [package, *module.name.split(".")] if module.name != "__init__" else [package, "__init__"]
    if module.path.name == "__init__.py" and module.name != "__init__":
        here.append("__init__")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def own_imports(module: Module, modules: dict[str, Module], package: str):
    """Yield (line, name of the imported module of the package)."""
    for line, name in imported(module, package):
        if name.split(".")[0] != package or name == f"{package}.__version__":
            continue
        inside = name.split(".")[1:]
        while inside and ".".join(inside) not in modules:
            inside.pop()
        yield line, ".".join(inside) or "__init__"


def check_imports(modules: dict[str, Module], package: str) -> list[str]:
    """Layers, forbidden pairs and libraries."""
    found = []
    for module in modules.values():
        part, rank = module.part, RANK.get(module.part)
        if rank is None:
            found.append(f"{module.path}: '{part}' has no layer; give it one in LAYERS")
            continue
        for line, name in own_imports(module, modules, package):
            other = name.split(".")[0]
            if RANK.get(other, rank) > rank:
                found.append(f"{module.path}:{line}: {module.name} imports {name}, which is above it")
            elif (part, other) in FORBIDDEN_PAIRS:
                found.append(f"{module.path}:{line}: {part} must not know {other}")
        for line, name in imported(module, package):
            library = name.split(".")[0]
            if part not in LIBRARIES.get(library, {part}):
                allowed = ", ".join(sorted(LIBRARIES[library])) or "nothing"
                found.append(f"{module.path}:{line}: {part} imports {library}, which only {allowed} may import")
    return found


def check_circles(modules: dict[str, Module], package: str) -> list[str]:
    """No module reaches itself through imports."""
    graph = {name: {other for _, other in own_imports(m, modules, package)} - {name} for name, m in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"import circle: {' -> '.join(reversed(error.args[1]))}"]
    return []


def depth(node: ast.AST, level: int = 0) -> int:
    """Deepest nesting of blocks; an ``elif`` counts as a level, as it does in the syntax tree."""
    level += isinstance(node, BLOCKS)
    inner = (child for child in ast.iter_child_nodes(node) if not isinstance(child, (*FUNCTIONS, ast.ClassDef)))
    return max((depth(child, level) for child in inner), default=level)


def length(function: ast.FunctionDef) -> int:
    """Lines of a function, without decorators and docstring."""
    docstring = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether a handler takes every exception, and does more than clean up and raise it again."""
    if isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None:
        return False
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(name is None or getattr(name, "id", "") in ("Exception", "BaseException") for name in names)


def check_shape(modules: dict[str, Module]) -> list[str]:
    """Names, sizes, nesting, broad handlers, and calls that run text."""
    found = []
    for module in modules.values():
        if FORBIDDEN_NAMES & set(module.name.split(".")):
            found.append(f"{module.path}: name the module after what it does")
        if module.lines > MODULE_LINES:
            found.append(f"{module.path}: {module.lines} lines, allowed {MODULE_LINES}")
        nodes = list(ast.walk(module.tree))
        for function in (node for node in nodes if isinstance(node, FUNCTIONS)):
            place = f"{module.path}:{function.lineno}: {function.name}"
            if length(function) > FUNCTION_LINES:
                found.append(f"{place} has {length(function)} lines, allowed {FUNCTION_LINES}")
            if (nesting := max(map(depth, function.body))) > NESTING:
                found.append(f"{place} is nested {nesting} deep, allowed {NESTING}")
        calls = (node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
        found += [f"{module.path}:{c.lineno}: {c.func.id}()" for c in calls if c.func.id in FORBIDDEN_CALLS]
        broad = [node for node in nodes if isinstance(node, ast.ExceptHandler) and is_broad(node)]
        if len(broad) > BROAD_EXCEPT.get(module.name, 0):
            found.append(f"{module.path}:{broad[-1].lineno}: broad except")
    return found


def check(package: Path) -> list[str]:
    """Return every fault of a package, as sentences."""
    modules = parse(package)
    return check_imports(modules, package.name) + check_circles(modules, package.name) + check_shape(modules)


def test_package_keeps_its_shape():
    modules = parse(PACKAGE)
    assert {"errors", "stage", "runner"} <= set(modules), "the package was not found"
    faults = check(PACKAGE)
    assert not faults, "\n" + "\n".join(faults)


def test_no_layer_lists_a_module_twice():
    assert sum(map(len, LAYERS)) == len(RANK)


def test_architecture_page_shows_the_same_layers():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| (.*) \|$", page, flags=re.MULTILINE)
    shown = [set(re.findall(r"`(\w+)`", row)) for row in reversed(rows)]
    assert shown == [parts for parts in LAYERS if "__init__" not in parts]


# The checker itself, on a small made-up package.

GOOD = {
    "__init__.py": "from .cli import main\n",
    "errors.py": "class Fault(Exception):\n    pass\n",
    "spec.py": "from ruamel.yaml import YAML\nfrom .errors import Fault\n",
    "stage.py": "from astrokeras.errors import Fault\n",
    "models/__init__.py": "import keras\nfrom .card import Card\n",
    "models/card.py": "from ..errors import Fault\nclass Card:\n    pass\n",
    "tasks/photoz.py": "from ..stage import Fault\nfrom astrokeras.models import Card\n",
    "cli.py": "from astrokeras import __version__\nfrom .tasks.photoz import Fault\n\ndef main():\n    return Fault\n",
}


def build(root: Path, files: dict[str, str]) -> Path:
    package = root / "astrokeras"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def test_a_good_package_has_no_faults(tmp_path):
    assert check(build(tmp_path, GOOD)) == []


DEEP = """
def f(x):
    for i in x:
        if i:
            with i:
                while i:
                    return i
"""
CLEANS_UP = "try:\n    x = 1\nexcept BaseException:\n    x = 2\n    raise\n"
NOT_TOO_DEEP = """
def f(x):
    for i in x:
        if i:
            with i:
                return [j for j in i if j]

    def g():
        while x:
            return x
"""
FIFTY = 'def f():\n    """Say.\n' + "\n" * 60 + '    """\n' + "    x = 1\n" * 49


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("errors.py", "from .stage import Fault\n", "errors imports stage, which is above it"),
        ("errors.py", "def f():\n    from astrokeras import spec\n", "errors imports spec, which is above it"),
        ("models/card.py", "from astrokeras.tasks.photoz import Card\n", "models.card imports tasks.photoz"),
        ("models/card.py", "from .. import runner\n", "models.card imports __init__, which is above it"),
        ("tasks/photoz.py", "from ..spec import YAML\n", "tasks must not know spec"),
        ("plan.py", "from .tasks import photoz\n", "plan must not know tasks"),
        ("errors.py", "import keras.ops\n", "errors imports keras, which only layers, models, networks, tasks may"),
        ("stage.py", "def f():\n    import pandas as pd\n", "stage imports pandas"),
        ("tasks/photoz.py", "from dask import delayed\n", "tasks imports dask"),
        ("stage.py", "import ruamel.yaml\n", "stage imports ruamel"),
        ("tasks/plots.py", "import matplotlib.pyplot\n", "tasks imports matplotlib, which only export may"),
        ("models/card.py", "import joblib\n", "models imports joblib, which only nothing may import"),
        ("models/card.py", "import pickle\n", "models imports pickle, which only testing may import"),
        ("odd.py", "x = 1\n", "'odd' has no layer"),
        ("tasks/utils.py", "x = 1\n", "name the module after what it does"),
        ("errors.py", "from .flags import x\n", "import circle: "),
        ("errors.py", "x = 1\n" * 301, "301 lines, allowed 300"),
        ("errors.py", FIFTY + "    x = 1\n", "f has 51 lines, allowed 50"),
        ("errors.py", DEEP, "f is nested 4 deep, allowed 3"),
        ("errors.py", "x = eval('1')\n", "eval()"),
        ("errors.py", "try:\n    x = 1\nexcept (ValueError, Exception):\n    pass\n", "broad except"),
        ("errors.py", "try:\n    x = 1\nexcept:\n    pass\n", "broad except"),
    ],
)
def test_each_fault_is_found(tmp_path, name, text, expected):
    faults = check(build(tmp_path, {**GOOD, "flags.py": "import astrokeras.errors\n", name: text}))
    assert any(expected in fault for fault in faults), faults


@pytest.mark.parametrize("text", [FIFTY, NOT_TOO_DEEP, CLEANS_UP, "x = 1\n" * 298])
def test_what_is_just_allowed_passes(tmp_path, text):
    assert check(build(tmp_path, {**GOOD, "errors.py": GOOD["errors.py"] + text})) == []
