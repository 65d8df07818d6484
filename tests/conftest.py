"""What all tests share: quiet libraries, and the survey files that lie outside the repository."""

import os
from pathlib import Path

# Before anything imports TensorFlow, Keras or matplotlib.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("SOURCE_DATE_EPOCH", None)

import pytest

SURVEY_FILES = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser):
    """Add ``--remote``."""
    parser.addoption("--remote", action="store_true", help="run the tests that need services on the network")


def pytest_collection_modifyitems(config, items):
    """Skip what needs the network unless asked for, and what needs survey files where there are none.

    What uses ``shared_data`` is marked as ``real_data``.
    """
    for item in items:
        if item.get_closest_marker("remote") and not config.getoption("--remote"):
            item.add_marker(pytest.mark.skip(reason="needs the network: pytest --remote"))
    absent = pytest.mark.skip(reason=f"survey files are not here ({SURVEY_FILES})")
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)
        if item.get_closest_marker("real_data") and not SURVEY_FILES.is_dir():
            item.add_marker(absent)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the survey files; a test that asks for it is skipped where the folder is absent."""
    return SURVEY_FILES


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    """Return the directory of a small photo-z model for SDSS bands, trained on synthetic galaxies."""
    from astrokeras import PhotoZ
    from astrokeras.synthetic.catalog import Synthetic

    source = Synthetic(rows=3000, seed=11, classes={"galaxy": 1.0})
    table = source.read(next(iter(source.partitions(3000))), [f.name for f in source.fields()])
    directory = tmp_path_factory.mktemp("models") / "small" / "1.0.0"
    recipe = {"width": 32, "depth": 2, "members": 2, "epochs": 6, "seed": 1, "n_grid": 64, "threads": 1, "cross_fit": 2}
    PhotoZ(bands=("u", "g", "r", "i", "z"), train=recipe, save=str(directory)).fit(table, directory)
    return directory
