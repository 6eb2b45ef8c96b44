"""Which kernel a guest gets, and which modules go with it."""

import lzma
from pathlib import Path

import pytest

from metier.lab.errors import LabError
from metier.lab.kernel import (
    GuestKernel,
    alias_lines,
    choose_modules,
    find_kernel,
    module_name,
    parse_dependencies,
    read_module,
    usual_roots,
)

MODULES_DEP = """\
kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko.xz kernel/drivers/virtio/virtio.ko.xz
kernel/net/core/failover.ko.xz:
kernel/drivers/virtio/virtio.ko.xz:
kernel/fs/nls/nls_iso8859-1.ko.xz:
"""


def plant(root: Path, *releases: str, below: str = "lib/modules") -> Path:
    """Make a folder that looks like unpacked kernel packages."""
    (root / "boot").mkdir(parents=True)
    for release in releases:
        (root / "boot" / f"vmlinuz-{release}").touch()
        (root / below / release).mkdir(parents=True)
    return root


def test_cloud_kernels_come_first_then_the_newest(tmp_path: Path) -> None:
    root = plant(tmp_path / "k", "6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.1-1-amd64")
    assert find_kernel(root).release == "6.1.0-56-cloud-amd64"


def test_a_kernel_without_modules_is_no_use(tmp_path: Path) -> None:
    root = plant(tmp_path / "k", "6.1.0-9-amd64")
    (root / "boot/vmlinuz-7.0").touch()
    assert find_kernel(root).release == "6.1.0-9-amd64"


def test_modules_below_usr_are_found_and_busybox_beside_the_kernel(tmp_path: Path) -> None:
    root = plant(tmp_path / "k", "6.12.1", below="usr/lib/modules")
    (root / "bin").mkdir()
    (root / "bin/busybox").touch()
    kernel = find_kernel(root)
    assert kernel.modules == root / "usr/lib/modules/6.12.1"
    assert kernel.busybox == root / "bin/busybox"


def test_no_kernel_says_where_it_was_sought_and_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot find a kernel") as caught:
        find_kernel(tmp_path)
    assert f"{tmp_path}/boot" in caught.value.message
    assert "linux-image-cloud-amd64" in caught.value.remedy


def test_a_folder_named_in_the_environment_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIER_GUEST_KERNEL", "/somewhere")
    assert usual_roots() == [Path("/somewhere")]
    monkeypatch.delenv("METIER_GUEST_KERNEL")
    assert usual_roots() == [Path(".cache/guest-kernel"), Path("/")]


def test_modules_come_with_what_they_need() -> None:
    chosen = choose_modules(parse_dependencies(MODULES_DEP), "", ["virtio_net"])
    assert [module_name(file) for file in chosen.files] == ["virtio_net", "virtio", "failover"]
    assert not chosen.missing


def test_hyphens_and_underscores_are_one() -> None:
    chosen = choose_modules(parse_dependencies(MODULES_DEP), "", ["nls_iso8859_1", "nls-iso8859-1"])
    assert chosen.files == ("kernel/fs/nls/nls_iso8859-1.ko.xz",)


def test_what_is_built_in_is_not_missing() -> None:
    builtin = "kernel/fs/ext4/ext4.ko\n"
    chosen = choose_modules(parse_dependencies(MODULES_DEP), builtin, ["ext4", "ahci"])
    assert chosen.files == ()
    assert chosen.missing == {"ahci"}


def test_modules_are_unpacked(tmp_path: Path) -> None:
    kernel = GuestKernel(tmp_path / "vmlinuz", "6.1", tmp_path)
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(b"code"))
    (tmp_path / "b.ko").write_bytes(b"plain")
    (tmp_path / "c.ko.odd").write_bytes(b"?")
    assert read_module(kernel, "a.ko.xz") == b"code"
    assert read_module(kernel, "b.ko") == b"plain"
    with pytest.raises(LabError, match=r"cannot unpack .* c\.ko\.odd"):
        read_module(kernel, "c.ko.odd")


def test_only_aliases_of_chosen_modules_go_along(tmp_path: Path) -> None:
    (tmp_path / "modules.alias").write_text(
        "# Aliases\nalias virtio:d00000001v* virtio_net\nalias pci:v00008086* e1000\n"
    )
    kernel = GuestKernel(tmp_path / "vmlinuz", "6.1", tmp_path)
    assert alias_lines(kernel, ["kernel/drivers/net/virtio_net.ko.xz"]) == [
        "alias virtio:d00000001v* virtio_net"
    ]
