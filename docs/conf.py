"""Sphinx configuration: astropy's shared settings, and what is ours."""

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import reference  # noqa: E402
from sphinx_astropy.conf.v2 import *  # noqa: E402, F403
from sphinx_astropy.conf.v2 import exclude_patterns, extensions, html_theme_options  # noqa: E402

project = "astrokeras"
author = "astrokeras developers"
copyright = "2026, astrokeras developers"
try:
    release = installed_version("astrokeras")
except PackageNotFoundError:
    release = "development version"
version = release

extensions += ["myst_parser", "sphinx_gallery.gen_gallery"]
# Not used here, and they ask for graphviz and for a plot directory.
for unused in ("sphinx.ext.inheritance_diagram", "matplotlib.sphinxext.plot_directive"):
    if unused in extensions:
        extensions.remove(unused)
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns += ["changes", "_build", "tutorials"]
myst_heading_anchors = 3

html_title = f"astrokeras {release}"
html_static_path = []
html_theme_options = {**html_theme_options, "show_nav_level": 1, "logo": {"text": "astrokeras"}}

# The inventories of other projects are fetched only where there is a network on purpose, so that a build is the same
# everywhere; references into other packages are then plain text.
if os.environ.get("READTHEDOCS") != "True":
    intersphinx_mapping = {}
nitpick_ignore_regex = [
    # Single backticks in docstrings name parameters as often as objects: link what can be linked.
    ("py:obj", r".*"),
    ("py:.*", r"(astropy|builtins|collections|keras|numpy|np|pandas|pathlib|pydantic|typing)\b.*"),
    # What pydantic, enum and dataclasses write into inherited docstrings.
    (
        "py:class",
        r"(Any|BaseModel|ConfigDict|Path|QTable|Table|Self|Iterable|Mapping|int|str|float|bool|None|tuple|dict)",
    ),
]

# The tutorials are executed; one that fails, fails the build.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "generated/tutorials",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "plot_gallery": True,
    "image_scrapers": ("matplotlib",),
    "write_computation_times": False,
}

autodoc_typehints = "none"
autoclass_content = "class"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False


def without_signature(app, what, name, obj, options, signature, return_annotation):
    """Drop the signature of settings: a table of their parameters follows."""
    return ("", None) if what == "class" and hasattr(obj, "model_fields") else None


def add_report(app, failed):
    """Put the report that a tutorial has written beside its page."""
    report = HERE / "tutorials" / "field-tutorial" / "report.html"
    if failed is None and report.exists():
        shutil.copy(report, Path(app.outdir) / "generated" / "tutorials" / "field-report.html")


def setup(app):
    """Write the generated pages before Sphinx looks for its sources."""
    app.connect("builder-inited", lambda app: reference.write(HERE / "generated"))
    app.connect("build-finished", add_report)
    app.connect("autodoc-process-signature", without_signature)
