"""Simulated VMware servers, one for each test that names one."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.vsphere_testbed import VsphereTestbed


@pytest.fixture
def esx(tmp_path: Path) -> "Iterator[VsphereTestbed]":
    """Have an ESX host by itself."""
    # Only who asks for it needs pyVmomi.
    from tests.contract.vsphere_testbed import VsphereTestbed, running

    with running(tmp_path / "esx", "-esx") as server:
        testbed = VsphereTestbed(server, tmp_path)
        yield testbed
        testbed.clean_up()


@pytest.fixture
def vcenter(tmp_path: Path) -> "Iterator[VsphereTestbed]":
    """Have a host in a vCenter."""
    from tests.contract.vsphere_testbed import VsphereTestbed, running

    with running(tmp_path / "vcenter") as server:
        testbed = VsphereTestbed(server, tmp_path, host="DC0_C0_H1")
        yield testbed
        testbed.clean_up()
