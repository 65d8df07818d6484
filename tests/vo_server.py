"""A small service of the Virtual Observatory: TAP, synchronous and by jobs, and a cone search, on this machine."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

from astropy.io.votable import from_table, tree

ERROR = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="ERROR">{}</INFO></RESOURCE></VOTABLE>"""
CONE_ERROR = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<PARAM name="Error" datatype="char" arraysize="*" value="{}"/></VOTABLE>"""
JOB = """<?xml version="1.0"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1">
<uws:jobId>{number}</uws:jobId><uws:phase>{phase}</uws:phase>{failure}
<uws:results><uws:result id="result" xlink:href="{url}/results/result"/></uws:results></uws:job>"""
FAILURE = '<uws:errorSummary type="fatal" hasDetail="false"><uws:message>{}</uws:message></uws:errorSummary>'


class Service:
    """What the server has, how it behaves, and what it was asked.

    Attributes
    ----------
    table : Table
        All it has; every query gets the first MAXREC (or ``limit``) rows of it.
    failures : list of int
        Status of the next answers, one after the other, before any that is good; 0 breaks the connection.
    asked : list of (str, str, dict)
        Method, path and parameters of every request.
    phases : list of str
        What a job says at each look, the last for ever.
    """

    def __init__(self, table):
        self.table, self.limit = table, None
        self.failures, self.asked, self.phases, self.cut = [], [], ["EXECUTING", "COMPLETED"], False
        self.jobs, self.url = {}, ""

    def answer(self, asked) -> bytes:
        """VOTable for a query, cut short by MAXREC or the limit of the service."""
        limits = [int(n) for n in (asked.get("MAXREC"), self.limit) if n is not None]
        rows = self.table[: min(limits)] if limits else self.table
        document = from_table(rows)
        resource = document.resources[0]
        resource.type = "results"
        resource.infos.append(tree.Info(name="QUERY_STATUS", value="OK"))
        out = BytesIO()
        document.to_xml(out)
        text = out.getvalue()
        if len(rows) < len(self.table):
            # After the table, as the standard has it.
            text = text.replace(b"</TABLE>", b'</TABLE><INFO name="QUERY_STATUS" value="OVERFLOW"/>')
        return text


class Handler(BaseHTTPRequestHandler):
    """Requests to a `Service`."""

    def log_message(self, *_):
        """Say nothing."""

    def _send(self, status: int, body: bytes, kind: str = "application/x-votable+xml", **headers: str):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.server.service.cut else body)

    def _asked(self) -> tuple[str, dict[str, str]]:
        address = urlsplit(self.path)
        text = address.query
        if self.command == "POST":
            text += "&" + self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = {name.upper(): values[0] for name, values in parse_qs(text).items()}
        self.server.service.asked.append((self.command, address.path, asked))
        return address.path, asked

    def _handle(self):
        service = self.server.service
        path, asked = self._asked()
        if service.failures:
            status = service.failures.pop(0)
            if not status:
                return self.connection.close()
            return self._send(status, b"not now", "text/plain")
        if path == "/tap/sync":
            return self._query(asked, ERROR)
        if path == "/scs":
            return self._query(asked | {"QUERY": "SELECT" if float(asked["SR"]) < 10 else "cone too wide"}, CONE_ERROR)
        if path.startswith("/tap/async"):
            return self._job(path, asked)
        return self._send(404, b"<html>no such page</html>", "text/html")

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815  names of the standard library

    def _query(self, asked, error):
        if not asked["QUERY"].startswith("SELECT"):
            return self._send(400, error.format(f"cannot parse {asked['QUERY']}").encode())
        return self._send(200, self.server.service.answer(asked))

    def _job(self, path, asked):
        service = self.server.service
        _, _, _, number, *rest = [*path.split("/"), ""]
        if path == "/tap/async":
            number = str(len(service.jobs) + 1)
            service.jobs[number] = {"asked": asked, "phases": ["PENDING"]}
            return self._send(303, b"", Location=f"{service.url}/tap/async/{number}")
        job = service.jobs[number]
        url = f"{service.url}/tap/async/{number}"
        if self.command == "DELETE":
            job["deleted"] = True
            return self._send(303, b"", Location=f"{service.url}/tap/async")
        if rest[:1] == ["phase"]:
            job["phases"] = list(service.phases)
            return self._send(303, b"", Location=url)
        if rest[:1] == ["results"]:
            return self._send(200, service.answer(job["asked"]))
        phase = job["phases"].pop(0) if len(job["phases"]) > 1 else job["phases"][0]
        failure = FAILURE.format("out of memory") if phase == "ERROR" else ""
        return self._send(200, JOB.format(number=number, phase=phase, url=url, failure=failure).encode(), "text/xml")


@contextmanager
def serving(table):
    """Run a `Service` with a table; yields it, with its ``url``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.service = service = Service(table)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
