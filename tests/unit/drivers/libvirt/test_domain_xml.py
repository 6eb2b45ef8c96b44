"""What is written for a VM is what is read back, and nothing in it can break out of its place."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.observation import Power
from metier.drivers.hypervisor.libvirt.configuration import Attachment, Place
from metier.drivers.hypervisor.libvirt.domain_facts import power, read_configuration, usable_address
from metier.drivers.hypervisor.libvirt.domain_xml import Frame, Media, Nic, domain_xml, new_size
from metier.drivers.hypervisor.libvirt.mark import Mark, owned_number
from metier.drivers.hypervisor.libvirt.shape import PlacedDisk, Shape

PLACE = Place("qemu:///system", "host-1", "metier", "/srv/vms")
BRIDGE = Attachment("bridge", "br0")
NIC = Nic(BRIDGE, PLACE.mac(3, 0))
FRAME = Frame(PLACE, 3, new_size(512, 2), (NIC,), accelerated=False)
MARK = Mark("metier", "host-1", 3, disk_gib=8)
SHAPE = Shape(
    "pc",
    "bios",
    (
        PlacedDisk("scsi", "sda", "lsilogic"),
        PlacedDisk("scsi", "sdb", "virtio-scsi"),
        PlacedDisk("ide", "hda"),
    ),
    PlacedDisk("ide", "hdd"),
    ("vmxnet3",),
)
MEDIA = Media(("/srv/vms/a", "/srv/vms/b", "/srv/vms/c"), "/srv/vms/seed.iso")


def test_a_bare_vm_reads_back_as_it_was_offered() -> None:
    read = read_configuration(domain_xml(FRAME, MARK))
    assert (read.name, read.memory_mib, read.cpus, read.nics, read.paths) == (
        PLACE.domain(3),
        512,
        2,
        (NIC,),
        (),
    )
    assert read.mark == MARK
    hardware = read.hardware({"default": BRIDGE, "other": Attachment("network", "x")})
    assert (hardware.disk_gib, hardware.networks) == (8, frozenset({"default"}))


def test_a_prepared_vm_has_its_disks_in_order_and_a_read_only_cdrom() -> None:
    tree = ET.fromstring(domain_xml(FRAME, MARK, SHAPE, MEDIA))
    assert read_configuration(ET.tostring(tree, encoding="unicode")).paths == MEDIA.disks
    cdrom = tree.find("devices/disk[@device='cdrom']")
    assert cdrom is not None
    assert cdrom.find("readonly") is not None
    targets = [target.get("dev") for target in tree.iterfind("devices/disk/target")]
    assert len(targets) == len(set(targets)) == 4
    assert [entry.get("model") for entry in tree.iterfind("devices/controller[@type='scsi']")] == [
        "lsilogic",
        "virtio-scsi",
    ]
    controllers = [entry.get("controller") for entry in tree.iterfind("devices/disk/address")]
    assert controllers == ["0", "1"]


def test_a_guest_that_powers_off_or_crashes_stays_off() -> None:
    tree = ET.fromstring(domain_xml(FRAME, MARK))
    assert [tree.findtext(name) for name in ("on_poweroff", "on_crash", "on_reboot")] == [
        "destroy",
        "destroy",
        "restart",
    ]


def test_the_console_of_no_guest_listens_on_a_network() -> None:
    tree = ET.fromstring(domain_xml(FRAME, MARK))
    assert [entry.get("type") for entry in tree.iterfind("devices/graphics/listen")] == ["socket"]


def test_what_an_administrator_set_is_taken_over() -> None:
    tree = ET.fromstring(domain_xml(FRAME, MARK))
    tree.find("memory").text = "768"  # type: ignore[union-attr] # it was written just now
    ET.SubElement(tree, "cputune").append(ET.Element("shares"))
    read = read_configuration(ET.tostring(tree, encoding="unicode"))
    again = Frame(PLACE, 3, read.size, read.nics, accelerated=True)
    tree = ET.fromstring(domain_xml(again, MARK, SHAPE, MEDIA))
    assert tree.get("type") == "kvm"
    assert tree.findtext("memory") == "768"
    assert tree.find("cputune/shares") is not None


@given(
    title=st.text(max_size=40),
    facts=st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4),
    path=st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=40),
)
def test_no_text_changes_the_shape_of_the_xml(title: str, facts: dict[str, str], path: str) -> None:
    plain = domain_xml(FRAME, MARK, SHAPE, MEDIA, title="t")
    mark = Mark("metier", "host-1", 3, 8, instance="web-1", facts=facts)
    hostile = domain_xml(FRAME, mark, SHAPE, Media((path,) * 3, path), title=title)
    tree = ET.fromstring(hostile)
    assert [element.tag for element in tree.iter("disk")] == [
        element.tag for element in ET.fromstring(plain).iter("disk")
    ]
    assert {child.tag for child in tree} - {"title"} == {child.tag for child in ET.fromstring(plain)} - {
        "title"
    }
    assert owned_number(read_configuration(hostile).mark, PLACE.domain(3), PLACE) == 3


def test_a_mark_counts_only_under_the_name_that_goes_with_it() -> None:
    assert owned_number(MARK, PLACE.domain(3), PLACE) == 3
    assert owned_number(MARK, "a-clone-of-it", PLACE) is None
    assert owned_number(None, PLACE.domain(3), PLACE) is None
    for other in (Mark("elsewhere", "host-1", 3), Mark("metier", "host-2", 3), Mark("metier", "host-1", 0)):
        assert owned_number(other, PLACE.domain(other.number), PLACE) is None


def test_names_on_the_host_are_fixed_and_differ() -> None:
    again = Place("qemu:///system", "host-1", "metier", "/srv/vms")
    assert again.mac(3, 0) == PLACE.mac(3, 0)
    assert again.domain_id(3) == PLACE.domain_id(3)
    macs = {PLACE.mac(number, nic) for number in range(1, 200) for nic in range(4)}
    assert len(macs) == 199 * 4
    # Locally administered, and not a group's address.
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_states_between_on_and_off_are_unknown() -> None:
    seen = {number: power(number) for number in range(8)}
    assert seen == {
        0: Power.UNKNOWN,
        1: Power.ON,
        2: Power.ON,
        3: Power.UNKNOWN,
        4: Power.ON,
        5: Power.OFF,
        6: Power.OFF,
        7: Power.UNKNOWN,
    }


def test_memory_is_read_in_any_unit_and_less_a_balloon() -> None:
    def memory(xml: str) -> int:
        return read_configuration(f"<domain>{xml}</domain>").memory_mib

    assert memory("<memory>2097152</memory>") == 2048
    assert memory("<memory unit='GiB'>2</memory>") == 2048
    assert memory("<memory unit='GiB'>2</memory><currentMemory unit='MiB'>512</currentMemory>") == 512
    assert memory("") == 0
    assert memory("<memory unit='parsec'>many</memory>") == 0


def test_an_address_is_one_that_others_can_reach() -> None:
    assert usable_address(["fe80::1", "2001:db8::5", "198.18.0.7"]) == "198.18.0.7"
    assert usable_address(["127.0.0.1", "169.254.1.1", "no", "0.0.0.0"]) is None
    assert usable_address(["2001:db8::5"]) == "2001:db8::5"


def judged(xml: str) -> str:
    """Return what libvirt says of a configuration that does not keep its schema; empty for a good one."""
    libvirt = pytest.importorskip("libvirt")
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open("test:///default")
    try:
        connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError as error:
        return str(error)
    finally:
        connection.close()
    return ""


def test_libvirt_itself_accepts_what_is_written_for_a_windows_guest() -> None:
    disks = (PlacedDisk("ide", "hda"), PlacedDisk("sata", "sda"), PlacedDisk("scsi", "sdb", "lsisas1068"))
    shape = Shape("pc", "bios", disks, PlacedDisk("ide", "hdd"), ("e1000",), local_time=True, has_tablet=True)
    xml = domain_xml(FRAME, MARK, shape, MEDIA)
    assert judged(xml) == ""
    assert "validate" in judged(xml.replace("<input ", "<output "))
    tree = ET.fromstring(xml)
    (tablet,) = tree.iterfind("devices/input")
    assert (tablet.get("type"), tablet.get("bus")) == ("tablet", "usb")
    assert [entry.get("offset") for entry in tree.iterfind("clock")] == ["localtime"]


def test_a_guest_without_a_pointer_of_its_own_has_no_usb() -> None:
    tree = ET.fromstring(domain_xml(FRAME, MARK, SHAPE, MEDIA))
    (usb,) = tree.iterfind("devices/controller[@type='usb']")
    assert usb.get("model") == "none"
    assert tree.find("devices/input") is None
