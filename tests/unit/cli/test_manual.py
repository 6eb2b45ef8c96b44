"""`ccimport` and `cccapture`, as the manual has them."""

import io
import sys
from collections.abc import Sequence

import click
import pytest

from metier.cli import manual, running
from metier.cli.main import run
from tests.unit.cli.conftest import Result

THE_MANUALS_LINE = ("-r", "-i", "w2k", "-n", "raw", "-f", "/tmp/filename.tgz", "-s", "-v")


class Program:
    """Runs one of the programs and keeps what it would have sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.sent: dict[str, object] = {}
        self.verbose = False
        monkeypatch.setattr(running, "change", self._change)

    def __call__(self, command: click.Command, arguments: Sequence[str], stdin: str = "") -> Result:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = run(command, command.name or "", arguments)
        return Result(status, *self._capsys.readouterr())

    def _change(self, operation: object, session: object, values: dict[str, object]) -> None:
        self.sent = {key: value for key, value in values.items() if not key.startswith("common_")}
        self.verbose = bool(getattr(session, "verbose", None))
        assert values["common_wait"] is True


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(monkeypatch, capsys)


def test_the_manuals_own_line_asks_and_imports(program: Program) -> None:
    answers = "windows\n512\nssd, rack=a\n120\nping tcp:80\n"
    result = program(manual.CCIMPORT, THE_MANUALS_LINE, answers)
    assert result.status == 0
    assert program.sent == {
        "vmware_only": True,
        "name": "w2k",
        "version": "raw",
        "file": "/tmp/filename.tgz",
        "type": "windows",
        "minimum_memory_mib": 512,
        "attribute": ("ssd", "rack=a"),
        "startup_seconds": 120,
        "collector": ("ping", "tcp:80"),
    }
    assert program.verbose


def test_empty_answers_take_the_defaults(program: Program) -> None:
    assert program(manual.CCIMPORT, THE_MANUALS_LINE, "\n\n\n\n\n").status == 0
    assert program.sent == {
        "vmware_only": True,
        "name": "w2k",
        "version": "raw",
        "file": "/tmp/filename.tgz",
        "type": "other",
        "startup_seconds": 300,
    }


def test_without_s_nothing_is_asked_and_without_v_nothing_is_told(program: Program) -> None:
    result = program(manual.CCIMPORT, ("-r", "-i", "w2k", "-f", "/tmp/filename.tgz"))
    assert (result.status, result.err) == (0, "")
    assert program.sent == {"vmware_only": True, "name": "w2k", "file": "/tmp/filename.tgz"}
    assert not program.verbose


def test_answers_that_end_early_import_nothing(program: Program) -> None:
    result = program(manual.CCIMPORT, THE_MANUALS_LINE, "windows\n512\n")
    assert result.status == 1
    assert "standard input ended before the answer to: attributes" in result.err
    assert not program.sent


def test_an_answer_that_makes_no_sense_imports_nothing(program: Program) -> None:
    result = program(manual.CCIMPORT, THE_MANUALS_LINE, "windows\nplenty\n")
    assert result.status == 2
    assert "'plenty' is not a whole number" in result.err
    assert not program.sent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-i", "w2k", "-f", "x.tgz", "--url", "https://example.org/x"), "-f and --url exclude each other"),
        (("-r", "-f", "x.tgz"), "the image's name is missing"),
        (("-r", "-i", "w2k"), "the archive is missing"),
        (("-r", "-i", "w2k", "-f", "x.tgz", "-t", "beos"), "'beos'"),
    ],
)
def test_wrong_usage_says_what_to_type(program: Program, arguments: tuple[str, ...], words: str) -> None:
    result = program(manual.CCIMPORT, arguments)
    assert result.status == 2
    assert words in result.err
    assert not program.sent


def test_every_answer_is_an_option_of_the_import(program: Program) -> None:
    from metier.cli.root import registered

    names = {part.name for part in registered("image")["image", "import"].arguments}
    program(manual.CCIMPORT, THE_MANUALS_LINE, "windows\n1\na\n1\nping\n")
    assert set(program.sent) <= names


def test_without_r_anything_is_taken_and_every_answer_is_an_option(program: Program) -> None:
    words = "-i app --url https://example.org/app.ova -t linux -m 0 -a ssd -a rack=a -d 8 -u 60 -c ping"
    assert program(manual.CCIMPORT, words.split()).status == 0
    assert program.sent == {
        "name": "app",
        "url": "https://example.org/app.ova",
        "type": "linux",
        "minimum_memory_mib": 0,
        "attribute": ("ssd", "rack=a"),
        "disk": 8,
        "startup_seconds": 60,
        "collector": ("ping",),
    }
    result = program(manual.CCIMPORT, (*words.split(), "-s"))
    assert (result.status, result.err) == (0, ""), "nothing is left to ask"


def test_ccexport_names_a_version_and_a_file(program: Program) -> None:
    assert program(manual.CCEXPORT, ["-i", "w2k", "-n", "raw", "-f", "/tmp/w2k.ova", "-v"]).status == 0
    assert program.sent == {"name": "w2k@raw", "file": "/tmp/w2k.ova"}
    assert program.verbose
    program(manual.CCEXPORT, ["-i", "w2k", "-n", "raw", "-f", "/tmp/w2k.qcow2", "-F", "qcow2"])
    assert program.sent["form"] == "qcow2"
    assert program(manual.CCEXPORT, ["-i", "w2k", "-n", "raw"]).status == 2


def test_what_ccexport_offers_is_what_images_can_be_written_as() -> None:
    from metier.operations.image_export import FORMS

    forms = next(option for option in manual.CCEXPORT.params if option.name == "form")
    assert isinstance(forms.type, click.Choice)
    assert tuple(forms.type.choices) == FORMS
