"""Descriptions of machines, as short as each form allows."""

VMDK = b"""# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="twoGbMaxExtentSparse"

# Extent description
RW 4192256 SPARSE "web-s001.vmdk"
RW 2048 FLAT "web-f002.vmdk" 0

# The Disk Data Base
ddb.adapterType = "lsilogic"
"""

VMX = b""".encoding = "UTF-8"
config.version = "8"
guestOS = "other3xlinux-64"
memsize = "256"
numvcpus = "2"
firmware = "efi"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "web.vmdk"
sata0.present = "TRUE"
sata0:1.present = "TRUE"
sata0:1.fileName = "data|20.vmdk"
ide1:0.deviceType = "cdrom-image"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
usb.present = "TRUE"
"""

MANIFEST = b"""SHA256(web.ovf)= 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
SHA1(web-disk1.vmdk)= a94a8fe5ccb19ba61c4c0873d391e987982fbbd3
"""

OVF = b"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
 <References><File ovf:href="web-disk1.vmdk" ovf:id="file1" ovf:size="1024"/></References>
 <DiskSection><Info>Disks</Info>
  <Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk1" ovf:fileRef="file1"/>
  <Disk ovf:capacity="1048576" ovf:diskId="vmdisk2"/>
 </DiskSection>
 <NetworkSection><Info>Networks</Info><Network ovf:name="VM Network"/></NetworkSection>
 <VirtualSystem ovf:id="web"><Info>A VM</Info><Name>web</Name>
  <OperatingSystemSection ovf:id="94" vmw:osType="ubuntu64Guest"><Info/></OperatingSystemSection>
  <VirtualHardwareSection><Info>Hardware</Info>
   <System><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType></System>
   <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
    <rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
   <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
    <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity></Item>
   <Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID>
    <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
    <rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:AddressOnParent>1</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource>
    <rasd:InstanceID>5</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>
   <Item><rasd:Connection>VM Network</rasd:Connection><rasd:InstanceID>6</rasd:InstanceID>
    <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
"""


def _value(value: object) -> str:
    """Return a value in the words of XML-RPC."""
    if isinstance(value, dict):
        members = (f"<member><name>{key}</name>{_value(inner)}</member>" for key, inner in value.items())
        return f"<value><struct>{''.join(members)}</struct></value>"
    if isinstance(value, list):
        return f"<value><array><data>{''.join(map(_value, value))}</data></array></value>"
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    return f"<value>{value}</value>"


def _object(kind: str, reference: str, **snapshot: object) -> dict[str, object]:
    return {"class": kind, "id": reference, "snapshot": snapshot}


_GUEST = {
    "version": {"product_version": "8.2.0", "export_vsn": 2},
    "objects": [
        _object(
            "VM",
            "Ref:1",
            uuid="9a2c",
            name_label="web",
            is_a_snapshot=False,
            is_control_domain=False,
            memory_static_max="536870912",
            VCPUs_max="2",
            HVM_boot_policy="BIOS order",
            HVM_boot_params={"order": "cd", "firmware": "bios"},
            VBDs=["Ref:7"],
            VIFs=["Ref:5"],
            platform={"viridian": "false"},
        ),
        _object("VIF", "Ref:5", device="0", MAC="00:16:3e:00:00:01", VM="Ref:1"),
        _object(
            "VBD", "Ref:7", VM="Ref:1", VDI="Ref:9", device="xvda", userdevice="0", type="Disk", empty=False
        ),
        _object("VDI", "Ref:9", name_label="root", virtual_size="2097152", type="user"),
    ],
}

OVA_XML = _value(_GUEST).encode()
