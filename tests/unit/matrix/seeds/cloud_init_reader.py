"""Run by a Python that has cloud-init: says as JSON what cloud-init itself makes of an unpacked seed."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from cloudinit import handlers, helpers
from cloudinit.config.schema import validate_cloudconfig_schema
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.net.network_state import parse_net_config_data
from cloudinit.sources.helpers import openstack
from cloudinit.user_data import UserDataProcessor


def main(form: str, folder: Path, state: Path) -> dict[str, Any]:
    """Return what is read from a seed that lies in a folder."""
    if form == "nocloud":
        network = yaml.safe_load((folder / "network-config").read_text("utf-8"))
        found = {"meta": yaml.safe_load((folder / "meta-data").read_text("utf-8"))}
        data = (folder / "user-data").read_bytes()
    else:
        read = openstack.ConfigDriveReader(str(folder)).read_v2()
        found = {
            "meta": {key: read["metadata"][key] for key in ("instance-id", "local-hostname")},
            "files": {name: content.decode() for name, content in read["files"].items()},
        }
        known = {link["ethernet_mac_address"]: "eth0" for link in read["networkdata"]["links"]}
        network = openstack.convert_net_json(read["networkdata"], known_macs=known)
        data = read["userdata"]
    parsed = parse_net_config_data(network)
    found["network"] = list(parsed._network_state["interfaces"])
    found["servers"] = parsed._network_state["dns"]["nameservers"]
    return {**found, **_user_data(data, state)}


def _user_data(data: bytes, state: Path) -> dict[str, Any]:
    paths = helpers.Paths({"cloud_dir": str(state), "run_dir": str(state)})
    message = UserDataProcessor(paths).process(data)
    (state / "merged").touch()
    handler = CloudConfigPartHandler(paths)
    handler.cloud_fn = str(state / "merged")
    scripts: list[str] = []
    handler.handle_part(None, "__begin__", None, None, "per-instance", None)
    for part in message.walk():
        kind, name = part.get_content_type(), part.get_filename()
        text = part.get_payload(decode=True)
        if kind == "text/cloud-config":
            handler.handle_part(None, kind, name, text.decode(), "per-instance", dict(part))
        elif kind == "text/x-shellscript":
            scripts.append(f"{name}: {text.decode()}")
    handler.handle_part(None, "__end__", None, None, "per-instance", None)
    merged = yaml.safe_load((state / "merged").read_text("utf-8"))
    merged.pop("merge_how", None)
    validate_cloudconfig_schema(merged, strict=True)
    return {"config": merged, "scripts": scripts, "handlers": bool(handlers)}


if __name__ == "__main__":
    json.dump(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])), sys.stdout)
