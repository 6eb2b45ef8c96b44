"""Fixtures: an API over a fake controller, served for real, and clients that speak to it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from metier.web.app import Parts, build_app
from metier.web.changes import Changes
from metier.web.identity import TokenFile
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier, a_tier, a_virtual_node, an_image
from tests.unit.web.fake_controller import FakeController
from tests.unit.web.fake_operations import FAKE_OPERATIONS
from tests.unit.web.running import Switch, local_client, remote_client, running


def a_site() -> FakeController:
    """Return a controller of one host with two virtual nodes and two tiers."""
    fleet = a_fleet(
        a_host(),
        a_virtual_node(number=1),
        a_virtual_node(number=3),
        a_host_tier(),
        a_tier(),
        a_host_image(),
        an_image(),
    )
    return FakeController(fleet)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Switch, Path, str]]:
    switch, state = Switch(Changes(a_site())), tmp_path_factory.mktemp("state")
    with running(switch, state) as url:
        yield switch, state, url


@pytest.fixture
def controller() -> FakeController:
    return a_site()


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def site(
    server: tuple[Switch, Path, str], controller: FakeController, tmp_path: Path, uploads: Path
) -> tuple[Path, str]:
    def authenticate(request: Request) -> str | None:
        return "ann" if request.headers.get("authorization") == "Bearer good" else None

    parts = Parts(
        FAKE_OPERATIONS,
        uploads=uploads,
        tokens=TokenFile(tmp_path / "tokens.json"),
        clock=lambda: NOW,
        figures=lambda: {"round_seconds": 0.25},
    )
    switch, state, url = server
    switch.app = build_app(controller, authenticate, parts)
    return state, url


@pytest.fixture
def client(site: tuple[Path, str]) -> Iterator[httpx.Client]:
    """A caller from another machine, with a good token."""
    with remote_client(site[1], "good") as client:
        yield client


@pytest.fixture
def local(site: tuple[Path, str]) -> Iterator[httpx.Client]:
    """A caller over the unix socket."""
    with local_client(site[0]) as client:
        yield client
