"""Tables sent to other programs of the desktop (TOPCAT, Aladin, ...) over SAMP, the messaging of the VO."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OutputError

if TYPE_CHECKING:
    from astropy.table import Table
    from pyvo.samp import SAMPIntegratedClient

_HEAD = 4096


def send(table: str | Path | Table, to: str | None = None, name: str | None = None, timeout: float = 60.0) -> list[str]:
    """Send a table to the programs that a SAMP hub knows, and wait until they have loaded it.

    Parameters
    ----------
    table : str, Path or Table
        A VOTable or FITS file, or a table of astropy.
    to : str, optional
        Name of the program (``topcat``, ``Aladin``), in any case; by default all that load such tables.
    name : str, optional
        What the table is called there; by default the name of the file.
    timeout : float
        Seconds to wait for each program.

    Returns
    -------
    list of str
        Names of the programs that have loaded it.

    Raises
    ------
    OutputError
        If there is no hub, no such program, the file is neither VOTable nor FITS table, or a program refuses it.
    """
    with ExitStack() as stack:
        path = Path(table) if isinstance(table, str | Path) else _written(table, stack)
        message = {
            "samp.mtype": _message(path),
            "samp.params": {
                "url": path.resolve().as_uri(),
                "table-id": path.resolve().as_uri(),
                "name": name or path.name,
            },
        }
        client = stack.enter_context(_registered())
        return [_call(client, number, message, timeout) for number in _recipients(client, message["samp.mtype"], to)]


def _written(table: Table, stack: ExitStack) -> Path:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "table.vot"
    try:
        table.write(path, format="votable")
    except (TypeError, ValueError) as error:
        raise OutputError(f"the table cannot be sent as a VOTable: {error}") from None
    return path


def _message(path: Path) -> str:
    """Type of the message for a file, by how it begins."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).lstrip()
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if head.startswith(b"SIMPLE  ="):
        return "table.load.fits"
    if b"<votable" in head.lower():
        return "table.load.votable"
    raise OutputError(f"{path}: is neither a VOTable nor a FITS table, which is what other programs take over SAMP")


@contextmanager
def _registered() -> Iterator[SAMPIntegratedClient]:
    from pyvo import samp

    client = samp.SAMPIntegratedClient(name="astrokeras", description="Machine-learned columns for survey catalogs")
    # The hub is on this machine; pyvo would ask a server on the internet for the way.
    with samp.conf.set_temp("use_internet", False):
        try:
            client.connect()
        except (samp.SAMPHubError, OSError) as error:
            raise OutputError(f"no SAMP hub answers ({error}); start TOPCAT or Aladin, which bring one") from None
        try:
            yield client
        finally:
            client.disconnect()


def _recipients(client: SAMPIntegratedClient, message: str, to: str | None) -> list[str]:
    """Keys of the programs that take a message and have the name asked for."""
    taking = {number: _name(client, number) for number in client.get_subscribed_clients(message)}
    chosen = [number for number, name in taking.items() if to is None or name.lower() == to.lower()]
    if not chosen:
        asked = "no program" if to is None else f"no program {to!r}"
        have = ", ".join(sorted(taking.values())) or "none does"
        raise OutputError(f"the SAMP hub knows {asked} that takes {message}; those that do: {have}")
    return chosen


def _name(client: SAMPIntegratedClient, number: str) -> str:
    return client.get_metadata(number).get("samp.name", number)


def _call(client: SAMPIntegratedClient, number: str, message: dict[str, Any], timeout: float) -> str:
    from xmlrpc.client import Fault

    name = _name(client, number)
    try:
        answer = client.call_and_wait(number, message, str(int(timeout)))
    except Fault as error:
        raise OutputError(f"{name} did not answer within {timeout:g} s ({error.faultString})") from None
    if answer["samp.status"] == "samp.error":
        why = answer.get("samp.error", {}).get("samp.errortxt", "no reason given")
        raise OutputError(f"{name} could not load the table: {why}")
    return name
