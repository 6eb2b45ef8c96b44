"""Only the book has secrets in clear, and only while it opens a driver."""

from pathlib import Path

import pytest

from metier.domain.errors import Refused, chain
from metier.domain.node import Endpoint
from metier.drivers.book import DriverBook, SealedForGood, opened
from metier.store.vault import KEY_FILE, FileVault
from tests.builders import a_node

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

SECRET = "Tr0ub4dor-and-3"


def sealed_endpoint(state: Path) -> Endpoint:
    return Endpoint("vsphere", {"url": "https://esx-1/sdk", "password": FileVault(state).seal(SECRET)})


def test_a_driver_is_opened_with_its_secrets_in_clear(tmp_path: Path) -> None:
    endpoint = sealed_endpoint(tmp_path)
    node = a_node("esx-1", vmm=endpoint)
    book = DriverBook(FileVault(tmp_path))
    driver = book.hypervisor(node)
    assert driver._settings.password == SECRET  # type: ignore[attr-defined]  # what only vsphere has
    assert SECRET not in repr(driver._settings)  # type: ignore[attr-defined]
    assert book.hypervisor(node) is driver
    book.close()


def test_a_secret_that_cannot_be_opened_says_how_to_give_it_again(tmp_path: Path) -> None:
    endpoint = sealed_endpoint(tmp_path)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(Refused) as caught:
        DriverBook(FileVault(tmp_path)).hypervisor(a_node("esx-1", vmm=endpoint))
    assert chain(caught.value).startswith(
        "the hypervisor driver of esx-1 cannot be opened: its setting password is sealed and cannot be opened"
    )
    assert "`metier node edit esx-1 --vmm-setting-file password=FILE`" in caught.value.remedy


def test_a_host_that_is_no_node_is_visited_and_left(tmp_path: Path) -> None:
    book = DriverBook(FileVault(tmp_path))
    with book.visiting(sealed_endpoint(tmp_path)) as driver:
        assert driver._settings.password == SECRET
        assert not driver._is_closed
    assert driver._is_closed


@pytest.mark.parametrize("settings", [{"url": "https://esx-1/sdk"}, {"url": "x", "password": "y"}, {}])
def test_a_visit_with_bad_settings_is_refused(tmp_path: Path, settings: dict[str, str]) -> None:
    visit = DriverBook(FileVault(tmp_path)).visiting(Endpoint("vsphere", settings))
    with pytest.raises(Refused, match="cannot visit a host with driver vsphere"), visit:
        pass


def test_a_visit_with_another_vault_s_secret_is_refused(tmp_path: Path) -> None:
    endpoint = sealed_endpoint(tmp_path)
    (tmp_path / "other").mkdir()
    visit = DriverBook(FileVault(tmp_path / "other")).visiting(endpoint)
    with pytest.raises(Refused, match="cannot visit") as caught, visit:
        pass
    assert "give password again" in caught.value.remedy


def test_settings_without_secrets_need_no_vault(tmp_path: Path) -> None:
    assert opened({"url": "x"}, FileVault(tmp_path)) == {"url": "x"}
    with pytest.raises(SealedForGood, match="its setting password"):
        opened({"password": "sealed:x"}, FileVault(tmp_path))
