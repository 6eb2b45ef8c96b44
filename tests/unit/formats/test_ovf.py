"""OVF descriptions and manifests, as different products write them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.machine import MachineFound
from metier.drivers.formats.ovf import parse_manifest, parse_ovf
from tests.unit.matrix.packages import HARDWARE, NAMESPACES, item, ovf


def machine(data: bytes) -> MachineFound:
    return parse_ovf(data, "web.ovf").machine


def test_as_vmware_writes_it() -> None:
    found = parse_ovf(ovf(), "web.ovf")
    assert found.is_vmware
    assert found.files == ("disk.vmdk",)
    (disk,) = found.machine.disks
    assert (disk.file, disk.bus, disk.controller, disk.capacity_bytes) == (
        "disk.vmdk",
        "scsi",
        "vmpvscsi",
        5 << 20,
    )
    assert found.machine.remarks == ()


def test_as_virtualbox_writes_it() -> None:
    hardware = (
        item(3, 1, VirtualQuantity="1"),
        item(4, 2, VirtualQuantity="512", AllocationUnits="MegaBytes"),
        item(5, 3, ResourceSubType="PIIX4", Address="0"),
        item(20, 4, ResourceSubType="AHCI", Address="0"),
        item(10, 5, ResourceSubType="E1000", Connection="NAT", AutomaticAllocation="true"),
        item(23, 6), item(35, 7, ResourceSubType="ensoniq1371"),
    )  # fmt: skip
    data = ovf(kind="virtualbox-2.2", hardware=hardware).replace(b">3</rasd:Parent>", b">4</rasd:Parent>")
    firmware = b'<vbox:Machine><Hardware><Firmware type="EFI"/></Hardware></vbox:Machine></VirtualSystem>'
    found = parse_ovf(data.replace(b"</VirtualSystem>", firmware), "web.ovf")
    assert not found.is_vmware
    told = found.machine
    assert (told.disks[0].bus, told.firmware, told.memory_mib, told.nic_models) == (
        "sata",
        "uefi",
        512,
        ("e1000",),
    )
    assert told.remarks == ()


def test_an_older_dialect() -> None:
    data = ovf().replace(b"InstanceID", b"InstanceId").replace(b"ovf:/disk/", b"/disk/")
    data = data.replace(
        b"http://schemas.dmtf.org/ovf/envelope/1", b"http://www.vmware.com/schema/ovf/1/envelope"
    )
    assert len(machine(data).disks) == 1


@pytest.mark.parametrize(
    ("words", "mib"),
    [
        ("byte * 2^20", 64),
        ("byte*2^20", 64),
        ("MegaBytes", 64),
        ("MB", 64),
        ("GB", 65536),
        ("byte * 2^30", 65536),
    ],
)
def test_units_of_memory(words: str, mib: int) -> None:
    hardware = (*HARDWARE[:1], item(4, 2, VirtualQuantity="64", AllocationUnits=words), *HARDWARE[2:])
    assert machine(ovf(hardware=hardware)).memory_mib == mib


@pytest.mark.parametrize(
    ("kind", "word", "bus", "model", "remark"),
    [
        (6, "lsilogic", "scsi", "lsilogic", "53C895A"),
        (6, "lsilogicsas", "scsi", "lsisas1068", ""),
        (6, "VirtualSCSI", "scsi", "vmpvscsi", ""),
        (6, "virtio-scsi", "scsi", "virtio-scsi", ""),
        (6, "buslogic", "scsi", "lsilogic", "BusLogic"),
        (6, "odd", "scsi", "lsilogic", "unknown model 'odd'"),
        (5, "PIIX4", "ide", "", ""),
        (20, "AHCI", "sata", "", ""),
        (20, "vmware.sata.ahci", "sata", "", ""),
        (20, "vmware.nvme.controller", "sata", "", "NVMe"),
        (20, "virtio", "virtio", "", ""),
        (20, "odd", "sata", "", "unknown model 'odd'"),
    ],
)
def test_controllers(kind: int, word: str, bus: str, model: str, remark: str) -> None:
    hardware = (*HARDWARE[:2], item(kind, 3, ResourceSubType=word))
    found = machine(ovf(hardware=hardware))
    assert (found.disks[0].bus, found.disks[0].controller) == (bus, model)
    assert remark in " ".join(found.remarks)
    assert bool(found.remarks) == bool(remark)


@pytest.mark.parametrize(
    ("word", "model", "remark"),
    [
        ("E1000", "e1000", ""), ("E1000e", "e1000e", ""), ("VmxNet3 E1000", "vmxnet3", ""),
        ("PCNet32", "pcnet", ""),
        ("virtio", "virtio", ""), ("", "e1000", ""), ("wonder", "e1000", "unknown model 'wonder'"),
    ],
)  # fmt: skip
def test_network_cards(word: str, model: str, remark: str) -> None:
    found = machine(ovf(hardware=(*HARDWARE[:3], item(10, 9, ResourceSubType=word))))
    assert found.nic_models == (model,)
    assert remark in " ".join(found.remarks)
    assert bool(found.remarks) == bool(remark)


def test_disks_come_in_the_order_of_booting() -> None:
    hardware = (item(5, 3), item(6, 4, ResourceSubType="lsilogicsas"))
    data = ovf(["ide.vmdk", "second.vmdk", "first.vmdk"], hardware=hardware).decode()
    for number, place in (("101", "7"), ("102", "2")):
        pattern = rf"({number}</rasd:InstanceID>.*?<rasd:Parent>)3(</rasd:Parent><rasd:AddressOnParent>)\d"
        data = re.sub(pattern, rf"\g<1>4\g<2>{place}", data, count=1)
    assert [disk.file for disk in machine(data.encode()).disks] == ["first.vmdk", "second.vmdk", "ide.vmdk"]


def test_the_default_deployment_option_is_taken() -> None:
    options = (
        b'<DeploymentOptionSection><Configuration ovf:id="small"/>'
        b'<Configuration ovf:id="large" ovf:default="true"/></DeploymentOptionSection><VirtualSystem '
    )
    small = item(4, 2, VirtualQuantity="256", AllocationUnits="MB").replace(
        "<Item", '<Item ovf:configuration="small"'
    )
    large = item(4, 2, VirtualQuantity="999", AllocationUnits="MB").replace(
        "<Item", '<Item ovf:configuration="large"'
    )
    data = ovf(hardware=(HARDWARE[0], small, large, HARDWARE[2])).replace(b"<VirtualSystem ", options)
    found = machine(data)
    assert found.memory_mib == 999
    assert found.remarks == ("of its 2 deployment options, 'large' was taken",)


SAID = [
    ('<vmw:Config vmw:key="firmware" vmw:value="odd"/>', "firmware 'odd' is unknown"),
    ('<vmw:Config vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="true"/>', "Secure Boot"),
    (item(1, 40, ResourceSubType="vmware.vtpm"), "device 40 has no counterpart"),
    (item(17, 41), "device 41 has no disk in the package"),
    (item(10, 42, Address="00:50:56:00:00:01"), "a fixed MAC address"),
]


@pytest.mark.parametrize(("more", "remark"), SAID, ids=[remark for _, remark in SAID])
def test_what_cannot_be_honoured_is_said(more: str, remark: str) -> None:
    (said,) = machine(ovf(more=more)).remarks
    assert remark in said


def test_properties_and_licences_are_said() -> None:
    sections = (
        b'<ProductSection ovf:class="app"><Property ovf:key="password" ovf:type="string"/></ProductSection>'
        b"<EulaSection><License>x</License></EulaSection></VirtualSystem>"
    )
    found = machine(ovf().replace(b"</VirtualSystem>", sections))
    assert "app.password" in found.remarks[0]
    assert "licence" in found.remarks[1]


def test_uefi_is_read() -> None:
    assert machine(ovf(more='<vmw:Config vmw:key="firmware" vmw:value="efi"/>')).firmware == "uefi"


TWO = b'<VirtualSystem ovf:id="two"><Name>two</Name></VirtualSystem></Envelope>'
REFUSED = [
    (b"", "it is no XML"),
    (b"<a/>", "begins with 'a'"),
    (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><Envelope/>", "defines a document type"),
    ("<!DOCTYPE x><Envelope/>".encode("utf-16"), "defines a document type"),
    (f"<Envelope {NAMESPACES}/>".encode(), "it describes no VM"),
    (ovf().replace(b"</Envelope>", TWO), "it describes 2 VMs: web, two"),
    (ovf(["/etc/passwd"]), "'/etc/passwd' is not a file next to it"),
    (ovf(["..%2fx.vmdk"]), "is not a file next to it"),
    (ovf(["http://example.org/x.vmdk"]), "is not a file next to it"),
    (ovf(["c:x.vmdk"]), "is not a file next to it"),
    (ovf(attributes='ovf:chunkSize="1000"'), "is cut into chunks"),
    (ovf(attributes='ovf:compression="lzma"'), "is packed by 'lzma'"),
    (ovf().replace(b'ovf:fileRef="f0"', b'ovf:fileRef="f9"'), "refers to no file"),
    (ovf().replace(b'ovf:fileRef="f0"', b'ovf:parentRef="d9"'), "only the difference"),
    (ovf().replace(b"ovf:/disk/d0", b"ovf:/disk/d7"), "which is not there"),
    (ovf().replace(b"ovf:/disk/d0", b"/dev/sda"), "which is no disk of the package"),
    (ovf([]), "gives the VM no hard disk"),
    (ovf(capacity="-1"), "the size of 'd0' is '-1'"),
    (ovf(capacity="1e9"), "must be a number"),
    (ovf(units="parsec"), "the unknown unit 'parsec'"),
    (ovf(hardware=(item(4, 2, VirtualQuantity="9" * 19),)), "a quantity of memory"),
    (ovf(more=item(17, 44, Parent="3", HostResource="ovf:/disk/d0")), "name the same disk"),
]


@pytest.mark.parametrize(("data", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_descriptions_that_cannot_be_taken(data: bytes, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_ovf(data, "web.ovf")
    assert why in caught.value.message


@settings(max_examples=300)
@given(st.data())
def test_changed_descriptions_are_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(ovf())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    try:
        found = parse_ovf(bytes(text), "web.ovf")
    except Refusal:
        return
    assert found.machine.disks
    assert not any(set(disk.file) & set("/\\:\0") for disk in found.machine.disks)


WORDS = st.sampled_from(
    ["", "0", "3", "-1", "9" * 30, "VirtualSCSI", "ovf:/disk/d0", "ovf:/file/f0", "${x}", "\u0663"]
)
KINDS = st.sampled_from([0, 1, 3, 4, 5, 6, 10, 17, 20, 31, 999])
NAMES = st.sampled_from(
    ["Parent", "AddressOnParent", "HostResource", "ResourceSubType", "VirtualQuantity", "Address"]
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(NAMES, WORDS)), max_size=8))
def test_hardware_of_any_kind_is_read_or_refused(hardware: list[tuple[int, dict[str, str]]]) -> None:
    items = [item(kind, number, **words) for number, (kind, words) in enumerate(hardware)]
    try:
        parse_ovf(ovf(hardware=items), "web.ovf")
    except Refusal:
        return


def test_manifests_as_products_write_them() -> None:
    digest = "0f" * 32
    text = f"SHA256(web.ovf)= {digest}\r\nSHA256 (a (1).vmdk) = {digest.upper()}\n\nSHA1(x)={'ab' * 20}\n"
    found = parse_manifest(text.encode(), "web.mf")
    assert [(each.file, each.algorithm) for each in found] == [
        ("web.ovf", "sha256"),
        ("a (1).vmdk", "sha256"),
        ("x", "sha1"),
    ]
    assert found[1].wanted == digest


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    try:
        parse_manifest(data, "web.mf")
    except Refusal:
        return


def test_hostile_lengths_take_no_time() -> None:
    for data in (
        b"<a>" * 400_000,
        b"SHA256(" * 100_000,
        b"<Envelope " + b"a='b' " * 10 + b">" + b"<b/>" * 250_000,
    ):
        with pytest.raises(Refusal):
            parse_ovf(data, "web.ovf")
        with pytest.raises(Refusal):
            parse_manifest(data, "web.mf")
