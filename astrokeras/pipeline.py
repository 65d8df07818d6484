"""The Python door to pipeline files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from . import spec
from .executors import executor
from .plan import make_plan
from .progress import Reporter
from .runner import Run
from .store import Store
from .walk import check_pipeline


class Pipeline:
    """A pipeline file, checked.

    Parameters
    ----------
    parsed : astrokeras.spec.Pipeline
        See `read`.

    Examples
    --------
    >>> pipeline = Pipeline.read("pipelines/quickstart.yaml", sets=["source.synthetic.rows=500"])  # doctest: +SKIP
    >>> record = pipeline.run()  # doctest: +SKIP
    """

    def __init__(self, parsed: spec.Pipeline):
        self.parsed = parsed
        self.columns, self.notes = check_pipeline(parsed)

    @classmethod
    def read(cls, path: str | Path, sets: Iterable[str] = ()) -> Self:
        """Read a pipeline file.

        Parameters
        ----------
        path : str or Path
            The YAML file.
        sets : iterable of str
            Changes, ``"stages.photoz.batch=512"``.

        Raises
        ------
        SpecError
            With every problem of the file, each with line and column.
        """
        return cls(spec.load(str(path), tuple(sets)))

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return self.parsed.name

    def run(
        self,
        work: str | Path = ".astrokeras",
        site: str | Path | None = None,
        fields: Iterable[str] = (),
        keep_going: bool = False,
        quiet: bool = False,
    ) -> dict[str, Any]:
        """Run what is not done yet.

        Parameters
        ----------
        work : str or Path
            Work directory.
        site : str or Path, optional
            Site file.
        fields : iterable of str
            Fields of a fan-out; all if empty.
        keep_going : bool
            Go on with other partitions when one fails.
        quiet : bool
            Show nothing.

        Returns
        -------
        dict
            The record of the run: segments with rows and seconds, products with paths, versions, failures.

        Raises
        ------
        AstrokerasError
            The first failure, unless ``keep_going``.
        """
        plan = make_plan(self.parsed, only=fields, keep_going=keep_going)
        said = spec.load_site(str(site)) if site else spec.Site()
        with executor(said.executor, said.workers, said.threads_per_worker) as workers:
            return Run(plan, Store(Path(work) / self.name), workers, Reporter(quiet), keep_going)()
