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


def pytest_collection_modifyitems(items):
    """Mark what uses ``shared_data`` as ``real_data``, and skip it where there are no survey files."""
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
