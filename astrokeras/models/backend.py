"""Starting Keras and its backend without the page of hints that TensorFlow prints on standard error."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module


def start() -> None:
    """Import Keras, if that has not happened; what was printed is shown only when the import fails.

    TensorFlow writes its greeting before it looks at ``TF_CPP_MIN_LOG_LEVEL``, straight to the file descriptor.
    """
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as greeting:
        os.dup2(greeting.fileno(), 2)
        try:
            import_module("keras")
        except KeyboardInterrupt:
            raise
        except BaseException:
            greeting.seek(0)
            os.write(kept, greeting.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
