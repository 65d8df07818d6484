"""Progress of long work: a rich bar on a terminal, plain lines elsewhere, and the log of a run."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .errors import StoreError

LOG = logging.getLogger("astrokeras")

#: Seconds between two plain lines of one task.
INTERVAL = 10.0


class Step(Protocol):
    """Something that can be moved on."""

    def advance(self, note: str = "") -> None:
        """One unit is done."""


class _Bar:
    def __init__(self, progress: Progress, task: int):
        self.progress, self.task = progress, task

    def advance(self, note: str = "") -> None:
        self.progress.update(self.task, advance=1, note=note)


class _Lines:
    def __init__(self, console: Console, title: str, total: int):
        self.console, self.title, self.total = console, title, total
        self.done, self.last = 0, time.monotonic()

    def advance(self, note: str = "") -> None:
        self.done += 1
        now = time.monotonic()
        if self.done == self.total or now - self.last >= INTERVAL:
            self.last = now
            self.console.print(f"{self.title}: {self.done}/{self.total} {note}".rstrip())


class Reporter:
    """Tells a person what goes on.

    Parameters
    ----------
    quiet : bool
        Say nothing but errors.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        # Names and paths may hold square brackets, which are no markup.
        self.console = Console(file=sys.stderr, quiet=quiet, soft_wrap=True, markup=False, highlight=False)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text)

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Step]:
        """Show ``total`` units of work under a title."""
        if not self.console.is_terminal:
            yield _Lines(self.console, title, total)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self.console) as progress:
            yield _Bar(progress, progress.add_task(title, total=total, note=""))


class _LogFile(logging.FileHandler):
    """A log that cannot be written ends the run; logging would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  its name in the base class
        raise _unwritten(self.baseFilename, sys.exc_info()[1])


def _unwritten(path: str | Path, error: BaseException | None) -> StoreError:
    return StoreError(f"{path}: cannot write the log ({getattr(error, 'strerror', None) or error})")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write what astrokeras logs to a file, from INFO on.

    Raises
    ------
    StoreError
        If that file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path)
    except OSError as error:
        raise _unwritten(path, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        try:
            handler.close()
        except OSError as error:
            raise _unwritten(path, error) from error
