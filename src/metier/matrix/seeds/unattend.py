"""Unattended set-up of Windows: an answer file in the root of a CD-ROM that also is a ConfigDrive.

Windows looks for `unattend.xml` in the root of every removable drive when an image that was
generalized with sysprep starts for the first time, and for `autounattend.xml` when it is installed.
"""

from collections.abc import Iterator, Mapping

from metier.domain.personality import Carried
from metier.matrix.seeds import configdrive

LABEL = configdrive.LABEL

Texts = Mapping[str, str]

# Drives of CD-ROMs begin behind the disks, and nobody knows how many there are.
_PROGRAM = "%d:\\metier\\first.cmd"
_FIRST_LOGON = f'cmd.exe /c "for %d in (D E F G H I J K L) do @if exist {_PROGRAM} {_PROGRAM}"'

DEFAULT_TEMPLATE = """\
<?xml version="1.0" encoding="utf-8"?>
{%- macro component(name) -%}
<component name="{{ name }}" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35" \
language="neutral" versionScope="nonSxS" xmlns:wcm="http://schemas.microsoft.com/WMIConfig/2002/State">
{%- endmacro %}
<unattend xmlns="urn:schemas-microsoft-com:unattend">
  <settings pass="specialize">
    {{ component("Microsoft-Windows-Shell-Setup") }}
      <ComputerName>{{ computer_name | e }}</ComputerName>
    </component>
{%- if address %}
    {{ component("Microsoft-Windows-TCPIP") }}
      <Interfaces>
        <Interface wcm:action="add">
          <Identifier>{{ mac | upper | replace(":", "-") }}</Identifier>
          {%- set family = "Ipv6Settings" if ":" in address else "Ipv4Settings" %}
          <{{ family }}>
            <DhcpEnabled>false</DhcpEnabled>
          </{{ family }}>
          <UnicastIpAddresses>
            <IpAddress wcm:action="add" wcm:keyValue="1">{{ address }}/{{ prefix }}</IpAddress>
          </UnicastIpAddresses>
{%- if gateway %}
          <Routes>
            <Route wcm:action="add">
              <Identifier>0</Identifier>
              <Prefix>{{ "::/0" if ":" in address else "0.0.0.0/0" }}</Prefix>
              <NextHopAddress>{{ gateway }}</NextHopAddress>
            </Route>
          </Routes>
{%- endif %}
        </Interface>
      </Interfaces>
    </component>
{%- if name_servers %}
    {{ component("Microsoft-Windows-DNS-Client") }}
      <Interfaces>
        <Interface wcm:action="add">
          <Identifier>{{ mac | upper | replace(":", "-") }}</Identifier>
          <DNSServerSearchOrder>
{%- for server in name_servers %}
            <IpAddress wcm:action="add" wcm:keyValue="{{ loop.index }}">{{ server }}</IpAddress>
{%- endfor %}
          </DNSServerSearchOrder>
        </Interface>
      </Interfaces>
    </component>
{%- endif %}
{%- endif %}
  </settings>
  <settings pass="oobeSystem">
    {{ component("Microsoft-Windows-Shell-Setup") }}
      <OOBE>
        <HideEULAPage>true</HideEULAPage>
        <ProtectYourPC>3</ProtectYourPC>
      </OOBE>
{%- if first_logon_commands %}
      <FirstLogonCommands>
{%- for command in first_logon_commands %}
        <SynchronousCommand wcm:action="add">
          <Order>{{ loop.index }}</Order>
          <CommandLine>{{ command | e }}</CommandLine>
        </SynchronousCommand>
{%- endfor %}
      </FirstLogonCommands>
{%- endif %}
    </component>
  </settings>
</unattend>
"""
"""What a guest gets whose operator wrote no answer file."""


def first_logon_commands(carried: Carried) -> list[str]:
    """Return the commands that put files in place and run scripts; none where there is neither."""
    return [_FIRST_LOGON] if carried.personality.files or carried.personality.scripts else []


def documents(carried: Carried) -> dict[str, str]:
    """Return what is written for every guest, whatever its templates say."""
    return configdrive.documents(carried)


def files(carried: Carried, rendered: Texts) -> dict[str, bytes]:
    """Return the seed's files by path."""
    answer = rendered["unattend.xml"].encode()
    return {
        "autounattend.xml": answer,
        "unattend.xml": answer,
        **configdrive.described(carried, rendered.get("user-data", "")),
        **configdrive.contents(carried, rendered),
        **_first_logon(carried, rendered),
    }


def _first_logon(carried: Carried, rendered: Texts) -> dict[str, bytes]:
    """Return the program that is run at the first logon, and the scripts that it runs."""
    if not first_logon_commands(carried):
        return {}
    scripts = {_script_name(place, text): text for place, text in enumerate(_scripts(carried, rendered), 1)}
    lines = ["@echo off", *_copies(carried), *(_call(name) for name in scripts)]
    found = {"metier/first.cmd": _dos("\n".join([*lines, ""]))}
    return {**found, **{f"metier/{name}": _dos(text) for name, text in scripts.items()}}


def _scripts(carried: Carried, rendered: Texts) -> Iterator[str]:
    for place in range(1, len(carried.personality.scripts) + 1):
        yield rendered[f"script {place}"]


def _script_name(place: int, text: str) -> str:
    first = text.lstrip().lower()
    is_batch = first.startswith(("@echo", "rem ", "::"))
    return f"script-{place:02}.{'cmd' if is_batch else 'ps1'}"


def _copies(carried: Carried) -> Iterator[str]:
    for place, file in enumerate(carried.personality.files):
        folder = file.path.rpartition("\\")[0]
        yield f'if not exist "{folder}\\" mkdir "{folder}"'
        yield f'copy /y "%~dp0..\\openstack\\content\\{place:04}" "{file.path}"'


def _call(name: str) -> str:
    if name.endswith(".cmd"):
        return f'call "%~dp0{name}"'
    return f'powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%~dp0{name}"'


def _dos(text: str) -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
