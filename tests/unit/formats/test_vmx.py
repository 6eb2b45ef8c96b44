"""Reading `.vmx` files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import MachineFound
from metier.drivers.formats.vmx import machine_of, parse_vmx
from tests.unit.matrix.archives import vmx_text


def machine(text: str) -> MachineFound:
    return machine_of(parse_vmx(text.encode(), "web.vmx"))


def with_disk(**settings: str) -> MachineFound:
    return machine(vmx_text("disk.vmdk", **settings))


def test_a_plain_machine_has_no_remarks() -> None:
    found = with_disk(numvcpus="2", ethernet0__present="TRUE", ethernet0__virtualDev="e1000")
    assert (found.memory_mib, found.cpus, found.firmware, found.nic_models) == (256, 2, "bios", ("e1000",))
    assert found.guest_os == "other3xlinux-64"
    assert found.remarks == ()


def test_lines_as_people_and_products_write_them() -> None:
    settings = parse_vmx(
        b'#!/usr/bin/vmware\n# a comment\n\n  MemSize="256"\r\n'
        b'name = "say |22hi|22 |7C"  # said\nbare = word # why\nempty = ""\n',
        "web.vmx",
    )
    assert settings.number("memsize", 1000) == 256
    assert settings.text("NAME") == 'say "hi" |'
    assert settings.text("bare") == "word"
    assert settings.text("empty", "default") == ""
    assert settings.text("missing", "default") == "default"


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("UTF-8", "utf-8"), ("windows-1252", "cp1252"), ("Shift_JIS", "cp932"), ("GBK", "gbk")],
)
def test_the_declared_encoding_is_used(encoding: str, codec: str) -> None:
    word = "Büro" if codec in ("utf-8", "cp1252") else "日本"
    settings = parse_vmx(f'.encoding = "{encoding}"\ndisplayName = "{word}"\n'.encode(codec), "web.vmx")
    assert settings.text("displayName") == word
    assert settings.remarks == ()


@pytest.mark.parametrize("declared", ["UTF-8", "klingon", "zip", "rot13", "punycode"])
def test_what_is_not_in_its_encoding_is_read_all_the_same(declared: str) -> None:
    settings = parse_vmx(f'.encoding = "{declared}"\ndisplayName = "B'.encode() + b'\xfcro"\n', "web.vmx")
    assert settings.text("displayName") == "Büro"
    assert settings.remarks == (
        f"web.vmx is not in the encoding {declared.lower()}; it was read as windows-1252",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it says nothing"),
        ("# nothing\n", "it says nothing"),
        ("a line\n", "line 1 is not of the form"),
        ('a = "b\n', "line 1 is not of the form"),
        ('a = "b" c\n', "line 1 is not of the form"),
        ('= "b"\n', "line 1 is not of the form"),
        ('a = b"c\n', "line 1 is not of the form"),
        ("a = \x00\n", "it holds zero bytes"),
        ('a = "1"\nA = "2"\n', "line 2 gives a the value '2', and a line before it '1'"),
    ],
)
def test_texts_that_are_no_vmx(text: str, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_vmx(text.encode(), "web.vmx")
    assert why in caught.value.message


def test_a_key_given_twice_with_one_value_is_harmless() -> None:
    assert parse_vmx(b'a = "1"\nA = "1"\n', "web.vmx").text("a") == "1"


@pytest.mark.parametrize("value", ["-1", "1.5", "lots", "99999999999999999999", "١٢", "0x10"])
def test_memory_must_be_a_number(value: str) -> None:
    with pytest.raises(Refusal, match="memsize is"):
        with_disk(memsize=value)


@pytest.mark.parametrize(
    ("word", "model", "remark"),
    [
        ("e1000", "e1000", ""),
        ("e1000e", "e1000e", ""),
        ("VmxNet3", "vmxnet3", ""),
        ("vlance", "pcnet", ""),
        ("vmxnet", "pcnet", "AMD PCnet"),
        ("wonder", "e1000", "unknown model 'wonder'"),
    ],
)
def test_network_cards(word: str, model: str, remark: str) -> None:
    found = with_disk(ethernet0__present="TRUE", ethernet0__virtualDev=word)
    assert found.nic_models == (model,)
    assert remark in " ".join(found.remarks)
    assert bool(found.remarks) == bool(remark)


def test_network_cards_without_a_model_get_vmware_s_default() -> None:
    assert with_disk(ethernet0__present="TRUE").nic_models == ("e1000",)
    assert with_disk(ethernet0__present="TRUE", guestOS="winNetEnterprise").nic_models == ("pcnet",)
    assert with_disk(ethernet0__present="FALSE").nic_models == ()


@pytest.mark.parametrize(
    ("controller", "model", "remark"),
    [
        ("lsilogic", "lsilogic", "53C895A"),
        ("lsisas1068", "lsisas1068", ""),
        ("pvscsi", "vmpvscsi", ""),
        ("buslogic", "lsilogic", "BusLogic"),
        ("odd", "lsilogic", "unknown model 'odd'"),
    ],
)
def test_scsi_controllers(controller: str, model: str, remark: str) -> None:
    lines = f'scsi0.present = "TRUE"\nscsi0.virtualDev = "{controller}"\n'
    found = machine(lines + 'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "a.vmdk"\n')
    assert [(disk.bus, disk.controller) for disk in found.disks] == [("scsi", model)]
    assert remark in " ".join(found.remarks)


def disks(*slots: str, extra: str = "") -> MachineFound:
    lines = [
        f'{slot}.present = "TRUE"\n{slot}.fileName = "{slot.replace(":", "-")}.vmdk"\n' for slot in slots
    ]
    return machine("".join(lines) + extra)


def test_disks_come_in_the_order_in_which_vmware_boots() -> None:
    found = disks("ide0:0", "sata0:1", "scsi1:0", "scsi0:10", "scsi0:2", "nvme0:0")
    assert [disk.slot for disk in found.disks] == [
        "scsi0:2",
        "scsi0:10",
        "scsi1:0",
        "sata0:1",
        "nvme0:0",
        "ide0:0",
    ]
    chosen = disks("ide0:0", "scsi0:0", extra='bios.hddOrder = "ide0:0"\n')
    assert [disk.slot for disk in chosen.disks] == ["ide0:0", "scsi0:0"]


def test_drives_that_are_no_hard_disks_are_left_out() -> None:
    found = with_disk(
        **{
            "ide1:0__present": "TRUE", "ide1:0__fileName": "/iso/linux.iso",
            "ide1:1__present": "TRUE", "ide1:1__deviceType": "atapi-cdrom", "ide1:1__fileName": "auto detect",
            "floppy0__present": "TRUE", "floppy0__fileName": "a.flp",
        }
    )  # fmt: skip
    assert [disk.file for disk in found.disks] == ["disk.vmdk"]
    assert found.remarks == ()


def test_absent_disks_are_named() -> None:
    found = with_disk(
        **{"scsi0:0__fileName": "old.vmdk", "scsi1__present": "FALSE", "scsi1:0__present": "TRUE"}
    )
    assert [disk.file for disk in found.disks] == ["disk.vmdk"]
    assert found.remarks == ("scsi0:0 names 'old.vmdk' but is not present, and is left out",)


def test_disks_that_cannot_be_used() -> None:
    raw = {"ide0:0__present": "TRUE", "ide0:0__fileName": "d.vmdk", "ide0:0__deviceType": "rawDisk"}
    with pytest.raises(Refusal, match="is a device of the host"):
        with_disk(**raw)
    with pytest.raises(Refusal, match=r"which is no .vmdk"):
        with_disk(**{"ide0:0__present": "TRUE", "ide0:0__fileName": "disk.vhd"})
    with pytest.raises(Refusal, match="name the same disk"):
        with_disk(**{"ide0:0__present": "TRUE", "ide0:0__fileName": "DISK.vmdk"})
    with pytest.raises(Refusal, match="gives the VM no hard disk"):
        machine('memsize = "256"\n')


@pytest.mark.parametrize("given", ["/vmfs/volumes/x/disk.vmdk", r"C:\VMs\web\disk.vmdk", "../disk.vmdk"])
def test_a_path_leads_nowhere_but_to_its_last_part(given: str) -> None:
    found = machine(vmx_text(given))
    assert [disk.file for disk in found.disks] == ["disk.vmdk"]
    assert "out of the archive was taken" in found.remarks[0]


@pytest.mark.parametrize(
    ("settings", "remark"),
    [
        ({"firmware": "efi", "nvram": "web.nvram"}, "UEFI variables"),
        ({"firmware": "openfirmware"}, "firmware 'openfirmware' is unknown"),
        ({"uefi__secureBoot__enabled": "TRUE"}, "Secure Boot"),
        ({"vtpm__present": "TRUE"}, "virtual TPM"),
        ({"checkpoint__vmState": "web.vmss"}, "was suspended"),
        ({"vhv__enable": "TRUE"}, "virtualization inside the guest"),
        ({"serial0__present": "TRUE"}, "serial0 is not taken over"),
        ({"sata0:0__mode": "independent-nonpersistent"}, "forgets its changes"),
        ({"sata0:0__mode": "undoable"}, "mode 'undoable'"),
        ({"sata0__sharedBus": "physical"}, "shared between VMs"),
        ({"pciPassthru0__present": "TRUE"}, "pcipassthru0 has no counterpart"),
        ({"flux__capacitor": "1.21"}, "these settings mean nothing here: flux.capacitor"),
        (
            {"ethernet0__present": "TRUE", "ethernet0__addressType": "static", "ethernet0__address": "00:50"},
            "fixed MAC",
        ),
        ({"ethernet0__present": "TRUE", "ethernet0__startConnected": "FALSE"}, "starts disconnected"),
    ],
)
def test_what_cannot_be_honoured_is_said(settings: dict[str, str], remark: str) -> None:
    found = with_disk(**settings)
    assert len(found.remarks) == 1
    assert remark in found.remarks[0]


def test_firmware_is_read() -> None:
    assert with_disk(firmware="EFI").firmware == "uefi"
    assert with_disk(firmware="bios").firmware == "bios"


def test_an_encrypted_machine_is_refused() -> None:
    with pytest.raises(Refusal, match="the VM is encrypted"):
        with_disk(encryption__keySafe="vmware:key/list")


def test_remarks_are_bounded() -> None:
    found = with_disk(**{f"thing{number}__present": "TRUE" for number in range(5000)})
    assert len(found.remarks) == 41
    assert found.remarks[-1] == "and 4960 remarks more"


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        machine_of(parse_vmx(data, "web.vmx"))
    except Refusal:
        return


KEYS = st.sampled_from(
    ["scsi0.present", "scsi0:0.present", "scsi0:0.filename", "ide0:0.present", "ide0:0.filename", "memsize",
     "ethernet0.present", "ethernet0.virtualdev", "scsi0.virtualdev", "scsi0:0.devicetype", "bios.hddorder"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["TRUE", "FALSE", "a.vmdk", "b.vmdk", "256", "efi", "pvscsi", "", "ide0:0,scsi0:0"]
) | st.text(
    st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"], blacklist_characters='"|'), max_size=20
)


@given(st.dictionaries(KEYS, VALUES))
def test_likely_settings_in_any_combination(settings: dict[str, str]) -> None:
    text = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    try:
        found = machine(text)
    except Refusal:
        return
    assert 1 <= len(found.disks) <= 2
    assert all("/" not in disk.file and disk.file.lower().endswith(".vmdk") for disk in found.disks)


def test_hostile_lengths_take_no_time() -> None:
    for text in (
        "a = " + " " * 500_000 + '"',
        "#" * 1_000_000,
        " = " * 300_000,
        'a = "' + "|2" * 300_000 + '"',
    ):
        with pytest.raises(Refusal):
            machine(text)
    many = "".join(f'scsi{n % 4}:{n // 4}.present = "TRUE"\n' for n in range(4000))
    with pytest.raises(Refusal):
        machine(many + 'bios.hddOrder = "' + "x," * 100_000 + '"\n')
