"""What cloud-init itself makes of our seeds; skipped where the system's Python has none.

`METIER_TEST_CLOUD_INIT` names a folder with its packages, as `dpkg -x` of Debian's leaves them.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from metier.domain.personality import PersonalFile, Personality, SeedForm, Variable
from tests.unit.matrix.seeds.reading import names, read, seed

PYTHON = Path("/usr/bin/python3")
OWN = Personality(
    user_data="#cloud-config\npackages: [nginx]\nwrite_files:\n- {path: /own, content: mine}\n",
    files=(PersonalFile("/etc/motd", "This is {{ hostname }}: ä\n", "0600"),),
    scripts=("#!/bin/sh\necho {{ role }}\n", "touch /there\n"),
    variables=(Variable("role", "db"),),
    name_servers=("10.0.0.2",),
)


def settings() -> dict[str, str]:
    packages = os.environ.get("METIER_TEST_CLOUD_INIT", "")
    return {"PYTHONPATH": packages} if packages else {}


def has_cloud_init() -> bool:
    if not PYTHON.exists():
        return False
    check = [str(PYTHON), "-c", "import cloudinit.config.schema, jsonschema"]
    return subprocess.run(check, env=settings(), capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not has_cloud_init(), reason="the system's Python has no cloud-init")


def understood(form: SeedForm, folder: Path) -> dict[str, Any]:
    """Return what cloud-init read; fails if it complained."""
    made = seed(OWN, form)
    for name in names(made):
        path = folder / "seed" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read(made, name))
    (folder / "state").mkdir()
    program = Path(__file__).with_name("cloud_init_reader.py")
    command = [str(PYTHON), str(program), form, str(folder / "seed"), str(folder / "state")]
    done = subprocess.run(command, env=settings(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("form", [SeedForm.NOCLOUD, SeedForm.CONFIGDRIVE])
def test_cloud_init_reads_all_of_it(form: SeedForm, tmp_path: Path) -> None:
    found = understood(form, tmp_path)
    assert found["meta"] == {"instance-id": "web-1-7", "local-hostname": "web-1"}
    assert found["config"]["packages"] == ["nginx"]
    assert [file["path"] for file in found["config"]["write_files"]] == ["/own", "/etc/motd"]
    assert found["config"]["write_files"][1] == {
        "path": "/etc/motd",
        "content": "This is web-1: ä\n",
        "permissions": "0600",
    }
    assert found["scripts"] == ["script-1: #!/bin/sh\necho db\n", "script-2: #!/bin/sh\ntouch /there\n"]
    assert len(found["network"]) == 1
    if form is SeedForm.CONFIGDRIVE:
        assert found["files"] == {"/etc/motd": "This is web-1: ä\n"}
