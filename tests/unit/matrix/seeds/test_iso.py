"""Small CD-ROMs: read back by others, and the same bytes whenever they are made."""

import shutil
import subprocess
from pathlib import Path

import pytest

from metier.matrix.seeds.iso import iso_image
from tests.unit.matrix.seeds.reading import names, read

# More files than one sector holds records of, in folders within folders.
FILES = {
    **{f"openstack/content/{number:04}": bytes([number]) * number for number in range(120)},
    "openstack/latest/meta_data.json": b"{}",
    "unattend.xml": b"<unattend/>",
}


def test_all_files_are_there_under_both_kinds_of_names() -> None:
    made = iso_image("config-2", FILES)
    for kind in ("rr_path", "joliet_path"):
        assert names(made, kind) == {f"/{name}" for name in FILES}
        assert all(read(made, f"/{name}", kind) == content for name, content in FILES.items())


def test_the_same_files_are_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = iso_image("config-2", FILES)
    for moment in (1_000_000_000.0, 1_234_567_890.0):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        assert iso_image("config-2", FILES) == first
    assert iso_image("config-2", {**FILES, "unattend.xml": b"<unattend />"}) != first


@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed")
def test_another_reader_finds_the_same(tmp_path: Path) -> None:
    (tmp_path / "seed.iso").write_bytes(iso_image("config-2", FILES))
    command = ["xorriso", "-osirrox", "on", "-indev", "seed.iso", "-extract", "/", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = tmp_path / "out"
    for name, content in FILES.items():
        assert (found / name).read_bytes() == content
