"""Answers of services of the Virtual Observatory (TAP and cone search, through pyvo), stored as they came."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import requests
from pyvo.dal import DALQuery, DALServiceError
from pyvo.dal.exceptions import DALAccessError
from pyvo.dal.scs import SCSQuery
from pyvo.dal.tap import AsyncTAPJob, TAPQuery
from pyvo.utils.http import create_session
from urllib3.exceptions import HTTPError

from .. import dates
from ..errors import IngestError
from ..export.atomic import replacing
from ..store import write_json
from .formats import open_table

_log = logging.getLogger(__name__)

#: Of a service that is overloaded, restarted or behind a gateway: worth another try.
PASSING = frozenset({0, 429, 502, 503, 504})
#: Seconds before the first repetition; doubled for each further one.
FIRST_PAUSE = 1.0
#: Seconds between two looks at a job: the first, the longest, and how they grow.
FIRST_LOOK, LONGEST_LOOK, GROWTH = 0.25, 30.0, 1.5


@dataclass(frozen=True)
class Request:
    """What to ask which service.

    Attributes
    ----------
    service : str
        Address.
    query : str or None
        In ADQL; None for a cone search.
    cone : tuple of float or None
        ra, dec and radius, in degrees.
    mode : str
        ``sync`` or ``async``.
    maxrec : int or None
        Most rows to ask for.
    timeout : float
        Seconds to wait for an answer to begin, or for a job to end.
    retries : int
        Repetitions after a failure that may pass.
    """

    service: str
    query: str | None
    cone: tuple[float, float, float] | None = None
    mode: str = "sync"
    maxrec: int | None = None
    timeout: float = 600.0
    retries: int = 3


class _PassingError(Exception):
    """A failure that may be gone when asked again."""


def fetch(request: Request, path: Path) -> None:
    """Ask a service and store its answer; a file beside it, ``*.json``, says what was asked, and when.

    Raises
    ------
    IngestError
        If there is no answer, it is an error, or no table.
    OutputError
        If it cannot be stored.
    """
    for attempt in range(request.retries + 1):
        try:
            _store(request, path)
            break
        except _PassingError as error:
            if attempt == request.retries:
                times = f" (tried {attempt + 1} times)" if attempt else ""
                raise IngestError(f"{request.service}: {error}{times}") from None
            pause = FIRST_PAUSE * 2**attempt
            _log.warning("%s: %s; trying again in %g s", request.service, error, pause)
            time.sleep(pause)
    asked = {"query": request.query} if request.query else {"cone": request.cone}
    facts = {
        "service": request.service,
        **asked,
        "maxrec": request.maxrec,
        "fetched": f"{dates.now():%Y-%m-%dT%H:%M:%S}",
    }
    write_json(path.with_suffix(".json"), facts)
    _log.info("%s: stored as %s", request.service, path)


def _store(request: Request, path: Path) -> None:
    with replacing(path) as stream:
        with _told(request.service), _session(request.timeout) as session:
            refusal = _job(request, session, stream) if request.mode == "async" else _ask(request, session, stream)
        stream.flush()
        try:
            # Its head and its errors; a service may well send an error with the status 200, or a table with 400.
            open_table(stream.name)
        except IngestError as error:
            why = str(error).removeprefix(f"{stream.name}: ")
            said = refusal is None or "the service answered" in why
            raise IngestError(f"{request.service}: {why if said else refusal}") from None
        if refusal is not None:
            raise IngestError(f"{request.service}: {refusal}")


@contextmanager
def _session(timeout: float) -> Iterator[requests.Session]:
    """Session with a limit of time for every request, which pyvo sets for few, and without answers left open."""
    with create_session() as session, ExitStack() as answers:
        session.headers["User-Agent"] = f"astrokeras/{version('astrokeras')} {session.headers['User-Agent']}"
        send = session.request

        def request(method: str, url: str, **options: Any) -> requests.Response:
            limited = {**options, "timeout": options.get("timeout") or timeout}
            return answers.enter_context(send(method, url, **limited))

        session.request = request
        yield session


@contextmanager
def _told(service: str) -> Iterator[None]:
    """Turn the errors of three libraries into ours, those that may pass into `_PassingError`."""
    try:
        yield
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, HTTPError) as error:
        raise _PassingError(f"the service cannot be reached, or stopped answering: {_short(error)}") from None
    except DALServiceError as error:
        if (error.code or 0) in PASSING:
            raise _PassingError(f"the service cannot be reached for the moment: {_short(error)}") from None
        raise IngestError(f"{service}: the service answered with an error: {_short(error)}") from None
    except (DALAccessError, requests.RequestException) as error:
        raise IngestError(f"{service}: the service answered with an error: {_short(error)}") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def _ask(request: Request, session: requests.Session, stream: BinaryIO) -> DALServiceError | None:
    """Write the answer to a query or a cone search; return the error of HTTP, if it is one that stays."""
    query: DALQuery
    if request.cone is not None:
        query = SCSQuery(request.service, request.cone[:2], request.cone[2], verbosity=2, session=session)
    else:
        query = TAPQuery(request.service.rstrip("/"), request.query, maxrec=request.maxrec, session=session)
    shutil.copyfileobj(query.execute_stream(), stream)
    try:
        query.raise_if_error()
    except DALServiceError as error:
        if (error.code or 0) in PASSING:
            raise
        return error
    return None


def _job(request: Request, session: requests.Session, stream: BinaryIO) -> None:
    """Run a job on the service, and write its result."""
    job = AsyncTAPJob.create(request.service.rstrip("/"), request.query, maxrec=request.maxrec, session=session)
    try:
        job.run()
        _await(job, request)
        job.raise_if_error()
        answer = session.get(job.result_uri, stream=True)
        answer.raise_for_status()
        for block in answer.iter_content(1 << 20):
            stream.write(block)
    finally:
        _forget(job)


def _await(job: AsyncTAPJob, request: Request) -> None:
    end, pause = time.monotonic() + request.timeout, FIRST_LOOK
    while (phase := job.phase) not in ("COMPLETED", "ERROR", "ABORTED"):
        if time.monotonic() + pause > end:
            late = f"the job is {phase.lower()} after {request.timeout:g} s"
            raise IngestError(f"{request.service}: {late}; raise `timeout`, or ask for less")
        time.sleep(pause)
        pause = min(LONGEST_LOOK, pause * GROWTH)


def _forget(job: AsyncTAPJob) -> None:
    """Delete a job, which also stops it; a service that keeps it does no harm."""
    try:
        job.delete()
    except DALServiceError as error:
        _log.info("job %s stays on the service: %s", job.url, error)
