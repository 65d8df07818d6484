"""Tables over SAMP, with a real hub and a program that loads what it is sent."""

import os
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from pyvo import samp

from astrokeras.cli import main
from astrokeras.errors import OutputError
from astrokeras.export.samp import send


class Program:
    """A program of the desktop that loads tables, or refuses to."""

    def __init__(self, name, hub, messages=("table.load.votable", "table.load.fits"), error=""):
        self.client = samp.SAMPIntegratedClient(name=name)
        self.client.connect(hub=hub)
        self.loaded, self.error = [], error
        for message in messages:
            self.client.bind_receive_call(message, self._load)

    def _load(self, key, sender, number, message, parameters, extra):
        if self.error:
            answer = {"samp.status": "samp.error", "samp.result": {}, "samp.error": {"samp.errortxt": self.error}}
            return self.client.reply(number, answer)
        path = url2pathname(urlsplit(parameters["url"]).path)
        # As programs do, before they answer.
        kind = "votable" if message.endswith("votable") else "fits"
        self.loaded.append((parameters["name"], Table.read(path, format=kind)))
        return self.client.reply(number, {"samp.status": "samp.ok", "samp.result": {}})


@pytest.fixture
def desktop(tmp_path, monkeypatch):
    """Start a hub that others find as they find that of TOPCAT; yields a maker of programs."""
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'samp').as_uri()}")
    with samp.conf.set_temp("use_internet", False):
        hub = samp.SAMPHubServer(web_profile=False, mode="single", lockfile=str(tmp_path / "samp"))
        hub.start()
        programs = []

        def program(name, **options):
            programs.append(Program(name, hub, **options))
            return programs[-1]

        yield program
        for one in programs:
            one.client.disconnect()
        hub.stop()


@pytest.fixture
def product(tmp_path):
    table = Table({"object_id": np.arange(5), "z_phot": np.linspace(0.1, 0.5, 5).astype("f4")})
    table.write(tmp_path / "photoz.vot", format="votable")
    return tmp_path / "photoz.vot"


def test_a_product_reaches_every_program_that_takes_it(desktop, product):
    topcat, aladin = desktop("topcat"), desktop("Aladin", messages=["table.load.votable"])
    ds9 = desktop("ds9", messages=["image.load.fits"])
    assert sorted(send(product)) == ["Aladin", "topcat"]
    for program in (topcat, aladin):
        ((name, table),) = program.loaded
        assert name == "photoz.vot"
        np.testing.assert_allclose(table["z_phot"], np.linspace(0.1, 0.5, 5), rtol=1e-6)
    assert not ds9.loaded


def test_a_program_is_chosen_by_its_name(desktop, product):
    topcat, aladin = desktop("topcat"), desktop("Aladin")
    assert send(product, to="ALADIN", name="stripe 82") == ["Aladin"]
    assert not topcat.loaded
    assert aladin.loaded[0][0] == "stripe 82"
    with pytest.raises(
        OutputError, match=r"no program 'ds9' that takes table.load.votable; those that do: Aladin, topcat"
    ):
        send(product, to="ds9")


def test_fits_tables_and_tables_of_astropy_are_sent(desktop, product, tmp_path):
    topcat = desktop("topcat")
    Table.read(product).write(tmp_path / "photoz.fits")
    assert send(tmp_path / "photoz.fits") == ["topcat"]
    send(QTable({"ra": [10.0, 11.0] * u.deg, "z_phot": [0.3, 0.4]}), name="selection")
    (_, fits), (name, table) = topcat.loaded
    assert len(fits) == 5
    assert name == "selection" and list(table["ra"]) == [10.0, 11.0] and table["ra"].unit == u.deg


def test_nothing_of_us_stays_at_the_hub(desktop, product):
    topcat = desktop("topcat")
    for _ in range(2):
        send(product)
    names = [topcat.client.get_metadata(c).get("samp.name") for c in topcat.client.get_registered_clients()]
    assert "astrokeras" not in names


def test_a_program_that_refuses_says_why(desktop, product):
    desktop("topcat", error="out of memory")
    with pytest.raises(OutputError, match="topcat could not load the table: out of memory"):
        send(product)


def test_without_a_hub_or_a_program(monkeypatch, product, tmp_path, desktop):
    with pytest.raises(OutputError, match=r"no program that takes table.load.votable; those that do: none does"):
        send(product)
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'nowhere').as_uri()}")
    with pytest.raises(OutputError, match=r"no SAMP hub answers.*start TOPCAT or Aladin"):
        send(product)


def test_what_cannot_be_sent(tmp_path):
    (tmp_path / "photoz.csv").write_text("a,b\n1,2\n")
    with pytest.raises(OutputError, match=r"photoz.csv: is neither a VOTable nor a FITS table"):
        send(tmp_path / "photoz.csv")
    with pytest.raises(OutputError, match=r"none.vot: no such file"):
        send(tmp_path / "none.vot")
    with pytest.raises(OutputError, match="the table cannot be sent as a VOTable"):
        send(QTable({"sky": SkyCoord([1.0, 2.0], [3.0, 4.0], unit="deg"), "x": np.array([1, 2], "u8")}))


def test_the_command(desktop, product, capsys):
    topcat = desktop("topcat")
    assert main(["send", str(product), "--to", "topcat", "--name", "mine"]) == 0
    assert capsys.readouterr().out == f"{product}: loaded by topcat{os.linesep}"
    assert topcat.loaded[0][0] == "mine"
    assert main(["send", str(product), "--to", "ds9"]) == 1
    assert capsys.readouterr().err.startswith("astrokeras: the SAMP hub knows no program 'ds9'")
