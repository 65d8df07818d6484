"""Executors: one interface, ``map(function, items) -> iterator``, as context managers.

A task is a module-level function of one small item, and returns a small receipt; tables travel by disk, never by wire.
Results come in the order in which tasks end; an error of a task is yielded with its item.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol, Self

from .errors import AstrokerasError, RunError


@dataclass(frozen=True)
class Outcome:
    """What became of an item: its result, or the error that ended it."""

    item: Any
    result: Any = None
    error: AstrokerasError | None = None


class Executor(Protocol):
    """What every executor does."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """Run ``function`` on every item; yield outcomes as they come."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


@dataclass
class Serial:
    """One item after the other, in this process."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """See `Executor.map`."""
        for item in items:
            try:
                yield Outcome(item, function(item))
            except AstrokerasError as error:
                yield Outcome(item, error=error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass


@dataclass
class Processes:
    """Worker processes on this machine, started afresh (spawn), so that no library state is shared.

    Parameters
    ----------
    workers : int
        Number of processes.
    threads : int
        Threads of each; set in the environment before numerical libraries start there.
    """

    workers: int
    threads: int = 1
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(self.workers, context, _set_threads, (self.threads,))
        return self

    def __exit__(self, *args: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """See `Executor.map`; at most two items per worker wait in the queue."""
        waiting: dict[Future, Any] = {}
        try:
            for item in items:
                waiting[self._pool.submit(function, item)] = item
                if len(waiting) >= 2 * self.workers:
                    yield from _finished(waiting)
            while waiting:
                yield from _finished(waiting)
        except BrokenProcessPool:
            raise RunError(
                "a worker process died (killed, or out of memory); finished parts are kept: run again"
            ) from None


def _finished(waiting: dict[Future, Any]) -> Iterator[Outcome]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        item = waiting.pop(future)
        try:
            yield Outcome(item, future.result())
        except AstrokerasError as error:
            yield Outcome(item, error=error)


def _set_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = str(threads)


def executor(kind: str = "serial", workers: int = 1, threads: int = 1) -> Executor:
    """Return the executor of a site: ``serial`` or ``processes``."""
    return Serial() if kind == "serial" else Processes(workers, threads)
