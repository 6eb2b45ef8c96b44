"""Exports: every form holds the same, appears whole, and goes in again."""

import os
import random
import tarfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image, ImageType, Machine
from metier.drivers.formats.api import BlockReader, Limits, Part, QemuView
from metier.drivers.formats.disks import open_source
from metier.drivers.formats.ovf import parse_manifest, parse_ovf
from metier.drivers.formats.ovf_writer import PackedDisk, ovf_text
from metier.drivers.formats.qemu_img import QemuImg
from metier.matrix.api import Cancelled
from metier.matrix.content import content_digest
from metier.matrix.exporting import FORMS, export
from metier.matrix.progress import Progress
from metier.matrix.storing import StoredFiles
from metier.operations import image_export
from tests.builders import NOW

MIB = 1 << 20
SIZES = (5 * MIB, 3 * MIB + 512)
SUFFIXES = {"ova": "ova", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vhd", "vhdx": "vhdx", "raw": "raw"}
SINGLE = [form for form in FORMS if form != "ova"]

Report = Callable[[str, int, int | None], None]


def silent(*_: object) -> None:
    """Report nothing."""


class Bench:
    """A stored version, and where it is exported to."""

    def __init__(self, folder: Path, disks: int = 1) -> None:
        self.out = folder / "out"
        store = folder / "store"
        for path in (self.out, store):
            path.mkdir()
        self.stored = [_stored(store, number) for number in range(disks)]
        with ExitStack() as stack:
            self.digests = [_digest(stack.enter_context(files.reader())) for files in self.stored]
        found = tuple(
            Disk(f"disk{number}.qcow2", SIZES[number], MIB, digest, "scsi", "vmpvscsi")
            for number, digest in enumerate(self.digests)
        )
        machine = Machine(found, "uefi", ("vmxnet3",), 512, 2, "debian-64")
        self.image = Image(ImageRef("web", "1"), ImageType.LINUX, "vmdk", NOW, machine=machine)

    def export(self, form: str, *, report: Report = silent, free: int = 1 << 40) -> list[Path]:
        target = self.out / f"web.{SUFFIXES[form]}"
        return export(self.image, self.stored, form, target, Progress(report), lambda _: free)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.out.iterdir())


def _stored(folder: Path, number: int) -> StoredFiles:
    raw, files = folder / "raw", StoredFiles(folder, number)
    draw = random.Random(number)
    with raw.open("wb") as file:
        file.truncate(SIZES[number])
        for at in (0, 2 * MIB + 4096, SIZES[number] - 512):
            file.seek(at)
            file.write(draw.randbytes(512))
    with closing(Part.whole(raw).open()) as window:
        view = QemuView({"driver": "raw", "file": window.qemu()}, (window.descriptor,))
        QemuImg().convert(view, files.disk, "qcow2", SIZES[number], lambda _: None)
    raw.unlink()
    return files


def _digest(disk: BlockReader) -> str:
    return content_digest(disk, 1, lambda _: None)


def _digest_of(name: str, part: Part) -> str:
    source = open_source(name, {name: part}, Limits())
    try:
        return _digest(source)
    finally:
        source.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Bench:
    return Bench(tmp_path, 2)


def test_operators_can_ask_for_every_form_and_no_other() -> None:
    assert set(image_export.FORMS) == set(FORMS)


@pytest.mark.parametrize("form", SINGLE)
def test_what_is_exported_is_what_is_stored(bench: Bench, form: str) -> None:
    steps: list[str] = []
    (path,) = bench.export(form, report=lambda step, *_: steps.append(step))
    assert bench.left() == [path.name]
    assert _digest_of(path.name, Part.whole(path)) == bench.digests[0]
    assert list(dict.fromkeys(steps)) == ["measuring", "writing the disk", "comparing the disk", "publishing"]


@pytest.mark.parametrize("form", SINGLE)
def test_several_disks_get_numbers(two: Bench, form: str) -> None:
    paths = two.export(form)
    assert [path.name for path in paths] == [f"web-1.{form}", f"web-2.{form}"]
    assert [_digest_of(path.name, Part.whole(path)) for path in paths] == two.digests


def test_a_package_describes_the_machine_and_goes_in_again(two: Bench) -> None:
    (path,) = two.export("ova")
    with tarfile.open(path) as tar:
        members = {member.name: Part(path, member.offset_data, member.size) for member in tar.getmembers()}
        text, manifest = (tar.extractfile(f"web.{end}") for end in ("ovf", "mf"))
        assert text is not None
        assert manifest is not None
        found, digests = parse_ovf(text.read(), "web.ovf"), parse_manifest(manifest.read(), "web.mf")
    assert list(members) == ["web.ovf", "web-disk1.vmdk", "web-disk2.vmdk", "web.mf"]
    assert [digest.file for digest in digests] == list(members)[:-1]
    machine = found.machine
    assert (machine.firmware, machine.nic_models, machine.memory_mib, machine.cpus) == (
        "uefi",
        ("vmxnet3",),
        512,
        2,
    )
    assert (found.is_vmware, machine.guest_os) == (True, "debian-64")
    assert [(disk.bus, disk.controller, disk.capacity_bytes) for disk in machine.disks] == [
        ("scsi", "vmpvscsi", size) for size in SIZES
    ]
    assert [_digest_of(disk.file, members[disk.file]) for disk in machine.disks] == two.digests


@pytest.mark.parametrize(
    "buses",
    [
        [("virtio", "")],
        [("sata", ""), ("scsi", "lsilogic"), ("sata", "")],
        [("ide", "")] * 5,
        [("scsi", "virtio-scsi"), ("scsi", "lsisas1068")],
        [("scsi", "lsilogic")] * 20,
    ],
)
def test_disks_keep_bus_and_order(buses: list[tuple[str, str]]) -> None:
    disks = tuple(Disk(f"d{n}", MIB, 1, "x", *bus) for n, bus in enumerate(buses))
    machine = Machine(disks, nic_models=("virtio", "rtl8139"), guest_os='a <b> & "c"')
    packed = [PackedDisk(f"d{n}.vmdk", 1, MIB) for n in range(len(buses))]
    found = parse_ovf(ovf_text("x", machine, packed, 256).encode(), "x.ovf").machine
    assert [disk.file for disk in found.disks] == [disk.file for disk in packed]
    assert [(disk.bus, disk.controller) for disk in found.disks] == buses
    assert (found.nic_models, found.guest_os) == (("virtio", "rtl8139"), 'a <b> & "c"')


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_no_file_is_ever_replaced(bench: Bench, form: str) -> None:
    taken = bench.out / f"web.{form}"
    taken.symlink_to("nowhere")
    with pytest.raises(Refusal, match="there is such a file"):
        bench.export(form)
    assert bench.left() == [taken.name]


def test_a_file_that_appears_meanwhile_is_not_replaced(two: Bench) -> None:
    def report(step: str, *_: object) -> None:
        if step == "publishing":
            (two.out / "web-2.raw").write_text("somebody's")

    with pytest.raises(Refusal, match="there is such a file"):
        two.export("raw", report=report)
    assert two.left() == ["web-2.raw"]
    assert (two.out / "web-2.raw").read_text() == "somebody's"


@pytest.mark.parametrize("form", FORMS)
def test_room_is_proved_first(bench: Bench, form: str) -> None:
    with pytest.raises(NoSpace, match="export image web@1"):
        bench.export(form, free=17 * MIB)
    assert bench.left() == []


def test_a_folder_that_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(Refusal, match="there is no folder"):
        export(bench.image, bench.stored, "raw", bench.out / "x" / "y", Progress(silent))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", ["measuring", "writing", "packing", "comparing", "publishing"])
def test_a_cancelled_export_leaves_nothing(bench: Bench, form: str, step: str) -> None:
    def report(now: str, *_: object) -> None:
        if now.startswith(step):
            raise Cancelled

    if step == "packing" and form != "ova":
        assert bench.export(form, report=report)
        return
    with pytest.raises(Cancelled):
        bench.export(form, report=report)
    assert bench.left() == []


def test_a_difference_is_found_before_anything_appears(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = QemuImg.convert

    def spoil(self: QemuImg, source: QemuView, target: Path, *rest: Any) -> None:
        convert(self, source, target, *rest)
        with target.open("r+b") as file:
            file.write(os.urandom(16))

    monkeypatch.setattr(QemuImg, "convert", spoil)
    with pytest.raises(Refusal, match="differs from what is stored"):
        bench.export("raw")
    assert bench.left() == []


# --- what a killed export leaves ------------------------------------------------------------


def test_what_a_killed_export_left_is_removed_by_the_next(two: Bench) -> None:
    ready = two.out / ".web.raw.metier-export" / "ready"
    ready.mkdir(parents=True)
    for name in ("web-1.raw", "web-2.raw"):
        (ready / name).write_bytes(b"half")
    os.link(ready / "web-1.raw", two.out / "web-1.raw")
    paths = two.export("raw")
    assert two.left() == ["web-1.raw", "web-2.raw"]
    assert [_digest_of(path.name, Part.whole(path)) for path in paths] == two.digests


def test_what_is_in_the_way_and_not_ours_is_left(bench: Bench) -> None:
    (bench.out / ".web.raw.metier-export").symlink_to("/")
    with pytest.raises(Refusal, match="not of our making"):
        bench.export("raw")
    assert bench.left() == [".web.raw.metier-export"]


def test_two_exports_to_one_file_do_not_meet(bench: Bench) -> None:
    refused: list[str] = []

    def report(step: str, *_: object) -> None:
        if step == "measuring" and not refused:
            with pytest.raises(Refusal) as error:
                bench.export("raw")
            refused.append(error.value.message)

    assert bench.export("raw", report=report)
    assert "another export is at work" in refused[0]
