"""Importing VMware archives: what goes in comes out, and only that."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import Image
from metier.drivers.formats.api import BLOCK_BYTES
from metier.matrix.api import Cancelled, Matrix
from metier.matrix.folder_matrix import FolderMatrix
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB, SUBFORMATS

FILES = [f"images/w2k/1/{name}" for name in ("disk0.blocks", "disk0.qcow2", "manifest.json")]


def silent(step: str, done: int, total: int | None) -> None:
    """Take a report and say nothing."""


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return FolderMatrix(tmp_path / "matrix")


def content_of(path: Path) -> bytes:
    """Return what qemu-img reads in a qcow2 disk."""
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    content = raw.read_bytes()
    raw.unlink()
    return content


def everything_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("size", [5 * MIB, 3 * MIB + 512])
def test_every_hosted_subformat_is_imported_byte_for_byte(
    tmp_path: Path, matrix: Matrix, subformat: str, size: int
) -> None:
    files = archives.vm_files(tmp_path / "vm", subformat, size)
    image = matrix.import_image(archives.order(archives.pack(tmp_path / "vm.tgz", files)), silent)
    assert image.machine is not None
    [disk] = image.machine.disks
    published = archives.published(tmp_path / "matrix") / disk.file
    assert content_of(published) == archives.raw_content(size)
    assert disk.capacity_bytes == size
    assert 0 < disk.stored_bytes <= size + 2 * MIB
    assert everything_below(tmp_path / "matrix") == FILES
    assert matrix.verify(image, silent) == []


def digest_by_the_book(content: bytes) -> str:
    """Return the digest as its definition says, in the plainest way."""
    total = hashlib.sha256(len(content).to_bytes(8, "big"))
    for number in range(-(-len(content) // 65536)):
        block = content[number * 65536 : (number + 1) * 65536].ljust(65536, b"\0")
        if any(block):
            total.update(number.to_bytes(8, "big") + hashlib.sha256(block).digest())
    return f"sha256-64k:{total.hexdigest()}"


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_the_digest_depends_on_the_content_and_not_on_the_form(
    tmp_path: Path, matrix: Matrix, subformat: str
) -> None:
    given = archives.order(archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm", subformat)))
    image = matrix.import_image(given, silent)
    assert image.machine is not None
    assert [disk.digest for disk in image.machine.disks] == [digest_by_the_book(archives.raw_content())]


def test_plain_tar_and_folder_give_the_same_image(tmp_path: Path, matrix: Matrix) -> None:
    files = archives.vm_files(tmp_path / "vm")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sources = [
        archives.pack(tmp_path / "vm.tgz", files),
        archives.pack(tmp_path / "vm.tar", files, "w"),
        folder,
    ]
    images = [
        matrix.import_image(archives.order(source, ImageRef("w2k", str(number))), silent)
        for number, source in enumerate(sources)
    ]
    assert len({image.digest for image in images}) == 1
    assert len({image.source for image in images}) == 3
    assert sorted(path.name for path in folder.iterdir()) == sorted(files), "the source is left as it was"


@pytest.mark.parametrize("prefix", ["./", "web/", "./web/"])
def test_one_leading_folder_is_tolerated(tmp_path: Path, matrix: Matrix, prefix: str) -> None:
    files = {prefix + name: data for name, data in archives.vm_files(tmp_path / "vm").items()}
    matrix.import_image(archives.order(archives.pack(tmp_path / "vm.tgz", files)), silent)


def test_disks_keep_the_order_of_the_vmx_and_their_bus(tmp_path: Path, matrix: Matrix) -> None:
    files = {
        "a.vmx": archives.vmx_text(
            "b.vmdk",
            "a.vmdk",
            **{"scsi0__present": "TRUE", "scsi0:0__present": "TRUE"},
            **{"scsi0:0__fileName": "c.vmdk", "scsi0__virtualDev": "lsisas1068"},
        ).encode()
    }
    for number, name in enumerate(("a", "b", "c"), 1):
        archives.write_vmdk(
            tmp_path / name, archives.raw_content(number * MIB, number), "monolithicSparse", f"{name}.vmdk"
        )
        files[f"{name}.vmdk"] = (tmp_path / name / f"{name}.vmdk").read_bytes()
    image = matrix.import_image(archives.order(archives.pack(tmp_path / "vm.tgz", files)), silent)
    assert image.machine is not None
    told = [(disk.capacity_bytes // MIB, disk.bus, disk.controller) for disk in image.machine.disks]
    assert told == [(3, "scsi", "lsisas1068"), (2, "sata", ""), (1, "sata", "")]


def test_extents_as_vmkfstools_exports_them(tmp_path: Path, matrix: Matrix) -> None:
    first, second = b"a" * 65536, b"b" * 65536
    files = {
        "esx.vmx": archives.vmx_text("/vmfs/volumes/4a/esx/esx.vmdk").encode(),
        "esx.vmdk": archives.descriptor(
            'RW 65536 SPARSE "esx-s001.vmdk"',
            'RW 1000 SPARSE "esx-s002.vmdk"',
            extra='ddb.adapterType = "lsilogic"\nddb.uuid = "60 00"\nencoding="UTF-8"\nisNativeSnapshot="no"',
        ),
        "esx-s001.vmdk": archives.sparse_extent(65536, {0: first, 511: second}),
        "esx-s002.vmdk": archives.sparse_extent(1000, {7: second}),
    }
    image = matrix.import_image(archives.order(archives.pack(tmp_path / "vm.tgz", files)), silent)
    assert image.machine is not None
    content = content_of(archives.published(tmp_path / "matrix") / image.machine.disks[0].file)
    wanted = bytearray(66536 * 512)
    wanted[:65536], wanted[511 * 65536 : 512 * 65536] = first, second
    wanted[65536 * 512 + 7 * 65536 :] = second[: 1000 * 512 - 7 * 65536]
    assert content == wanted
    assert any("esx.vmdk" in remark for remark in image.machine.remarks)


def test_memory_comes_from_the_vmx_unless_the_operator_says_more(tmp_path: Path, matrix: Matrix) -> None:
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    plain = matrix.import_image(archives.order(archive), silent)
    told = matrix.import_image(
        archives.order(
            archive, ImageRef("w2k", "2"), minimum_memory_mib=512, requirements=Requirements(cpus=2)
        ),
        silent,
    )
    assert plain.requirements == Requirements(memory_mib=256)
    assert told.requirements == Requirements(memory_mib=512, cpus=2)


def test_what_is_not_taken_over_is_said(tmp_path: Path, matrix: Matrix) -> None:
    files = archives.vm_files(tmp_path / "vm")
    files |= {"web.vmem": b"memory", "web.vmsd": b"", "web.nvram": b"", "vmware.log": b"", "old.vmdk": b"x"}
    image = matrix.import_image(archives.order(archives.pack(tmp_path / "vm.tgz", files)), silent)
    assert image.machine is not None
    assert image.machine.remarks == (
        "web.vmem is a suspended VM's memory: it starts from its disks as after a power failure",
        "the VM does not use old.vmdk",
    )


def test_a_vm_that_ran_while_it_was_packed_is_remarked_on(tmp_path: Path, matrix: Matrix) -> None:
    archives.write_vmdk(tmp_path / "vm", archives.raw_content(), "monolithicSparse")
    (tmp_path / "vm/web.vmx").write_text(archives.vmx_text("disk.vmdk"))
    (tmp_path / "vm/disk.vmdk.lck").mkdir()
    image = matrix.import_image(archives.order(tmp_path / "vm"), silent)
    assert image.machine is not None
    assert image.machine.remarks == (
        "disk.vmdk.lck shows that the VM ran while it was packed, or had crashed",
    )


def test_names_may_differ_in_case_and_in_the_spelling_of_accents(tmp_path: Path, matrix: Matrix) -> None:
    files = archives.vm_files(tmp_path / "vm")
    disk = files.pop("disk.vmdk")
    files |= {"web.vmx": archives.vmx_text("B\u00fcro.vmdk").encode(), "bu\u0308ro.VMDK": disk}
    matrix.import_image(archives.order(archives.pack(tmp_path / "vm.tgz", files)), silent)


def test_the_manifest_describes_the_version_by_itself(tmp_path: Path, matrix: Matrix) -> None:
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    image = matrix.import_image(archives.order(archive), silent)
    manifest = json.loads((archives.published(tmp_path / "matrix") / "manifest.json").read_text())
    assert manifest["image"] == "w2k"
    assert manifest["digest"] == image.digest
    assert manifest["machine"]["disks"][0]["file"] == "disk0.qcow2"
    assert image.source.startswith("archive vm.tgz, sha256 ")


def test_progress_is_told_in_words_and_bytes(tmp_path: Path, matrix: Matrix) -> None:
    told: list[tuple[str, int, int | None]] = []
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    matrix.import_image(archives.order(archive), lambda *report: told.append(report))
    steps = list(dict.fromkeys(step for step, _, _ in told))
    assert steps == ["unpacking", "checking", "writing", "comparing", "publishing"]
    assert all(done <= total for _, done, total in told if total is not None)
    assert told[-2] == ("comparing", 5 * MIB, 5 * MIB)


@pytest.mark.parametrize("step", ["unpacking", "checking", "writing", "comparing", "publishing"])
def test_cancelling_at_any_step_leaves_nothing(tmp_path: Path, matrix: Matrix, step: str) -> None:
    def cancel(told: str, done: int, total: int | None) -> None:
        if told == step:
            raise Cancelled

    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    with pytest.raises(Cancelled):
        matrix.import_image(archives.order(archive), cancel)
    assert everything_below(tmp_path / "matrix") == []
    assert not archives.published(tmp_path / "matrix").exists()


def test_a_version_is_never_made_twice(tmp_path: Path, matrix: Matrix) -> None:
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    matrix.import_image(archives.order(archive), silent)
    before = everything_below(tmp_path / "matrix")
    with pytest.raises(Refusal, match="that version exists already"):
        matrix.import_image(archives.order(archive), silent)
    assert everything_below(tmp_path / "matrix") == before


def damaged(image: Image, folder: Path, how: str) -> None:
    """Damage a published version."""
    assert image.machine is not None
    disk = folder / image.machine.disks[0].file
    disk.chmod(0o644)
    if how == "a byte":
        with disk.open("r+b") as file:
            file.seek(2 * BLOCK_BYTES)
            byte = file.read(1)
            file.seek(2 * BLOCK_BYTES)
            file.write(bytes((byte[0] ^ 1,)))
    elif how == "an end":
        with disk.open("r+b") as file:
            file.truncate(disk.stat().st_size // 2)
    elif how == "a disk":
        disk.unlink()
    elif how == "a manifest":
        (folder / "manifest.json").write_text("{}")
    else:
        (folder / "stray").touch()


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("a byte", "disk0.qcow2 differs from what was imported"),
        ("an end", "disk0.qcow2 is damaged"),
        ("a disk", "disk0.qcow2 is missing"),
        ("a manifest", "manifest.json cannot be read"),
        ("a stranger", "stray does not belong there"),
    ],
)
def test_verify_finds_what_is_wrong(tmp_path: Path, matrix: Matrix, how: str, fault: str) -> None:
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    image = matrix.import_image(archives.order(archive), silent)
    damaged(image, archives.published(tmp_path / "matrix"), how)
    found = matrix.verify(image, silent)
    assert [sentence for sentence in found if sentence.startswith(fault)], found


def test_delete_removes_one_version_and_leaves_the_others(tmp_path: Path, matrix: Matrix) -> None:
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    first = matrix.import_image(archives.order(archive), silent)
    second = matrix.import_image(archives.order(archive, ImageRef("w2k", "2")), silent)
    matrix.delete(first.ref)
    matrix.delete(first.ref)
    assert matrix.verify(first, silent) == ["image w2k@1 is not in the image matrix"]
    assert matrix.verify(second, silent) == []
    matrix.delete(second.ref)
    assert list((tmp_path / "matrix/images").iterdir()) == []


def test_sweep_removes_what_is_not_recorded_and_nothing_else(tmp_path: Path, matrix: Matrix) -> None:
    archive = archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm"))
    kept = matrix.import_image(archives.order(archive), silent)
    matrix.import_image(archives.order(archive, ImageRef("w2k", "2")), silent)
    (tmp_path / "matrix/images/lost+found").mkdir()
    (tmp_path / "matrix/images/mine/notes").mkdir(parents=True)
    (tmp_path / "matrix/work/w2k@3-x/unpacked").mkdir(parents=True)
    removed = matrix.sweep([kept.ref])
    assert removed == ["unfinished work w2k@3-x", "image w2k@2, which is not recorded"]
    assert matrix.sweep([kept.ref]) == []
    assert matrix.verify(kept, silent) == []
    assert (tmp_path / "matrix/images/mine/notes").is_dir()
