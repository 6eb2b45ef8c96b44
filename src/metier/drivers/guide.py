"""Tells what operators need to know before they name a driver or a server."""

import http.client
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from metier.domain.errors import Refusal, Refused, Unavailable, WrongUsage
from metier.drivers.certificate import Advice, Server, Trust, fetched, in_colons
from metier.drivers.registry import GROUPS, driver_names, load_driver, settings_of
from metier.drivers.settings import SettingDoc

Row = dict[str, Any]

_LOOK_S = 10.0
_HTTPS = 443
_ADVICE = Advice("give it as the setting thumbprint: {}", "give its file as the setting ca")


class InstalledDrivers:
    """The drivers of this installation, and the servers that this machine reaches."""

    def __init__(self, *, is_simulated: bool = False) -> None:
        """A simulated site reaches no server."""
        self._is_simulated = is_simulated

    def drivers(self) -> Sequence[Row]:
        """Return every installed driver, by family and name; see `Services`."""
        return [_driver_row(family, name) for family in GROUPS for name in driver_names(family)]

    def certificate(self, url: str) -> Row:
        """Return what is seen of the certificate of the server at `url`; nothing is said to it.

        Raises:
            WrongUsage: That is no `https` URL.
            Refusal: This is a simulated site.
            Unavailable: No server answers there by TLS.
        """
        server = _server(url)
        if self._is_simulated:
            raise Refusal(
                f"cannot look at the certificate of {server.shown}: a simulated site reaches nothing real",
                remedy="ask a controller that serves a real site",
            )
        try:
            seen = fetched(server, _LOOK_S)
            doubt = _doubt(server)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(
                f"cannot look at the certificate of {server.shown}",
                remedy="look at the URL, and whether the controller reaches that server",
            ) from error
        thumbprint = in_colons(seen.thumbprint)
        pin = "" if doubt is None else f" --vmm-setting thumbprint={thumbprint}"
        return {
            "url": server.shown,
            "thumbprint": thumbprint,
            "subject": seen.subject,
            "issuer": seen.issuer,
            "names": list(seen.names),
            "valid_from": _moment(seen.valid_from),
            "valid_until": _moment(seen.valid_until),
            "is_vouched_for": doubt is None,
            "doubt": doubt,
            "next": f"metier node add NAME --vmm DRIVER --url {server.shown}{pin}",
        }


def _doubt(server: Server) -> str | None:
    """Return why the system's authorities do not have a server believed; None if they do."""
    try:
        Trust(server, "", "", _ADVICE).connect(_LOOK_S).close()
    except Refused as error:
        return error.message
    return None


def _server(url: str) -> Server:
    remedy = "say for example https://esx-1.example/sdk"
    try:
        parts = urlsplit(url)
        port = parts.port or _HTTPS
    except ValueError as error:
        raise WrongUsage("this is no URL", remedy=remedy) from error
    if parts.scheme != "https" or not parts.hostname or not url.isprintable():
        raise WrongUsage(
            "only a URL that begins with https:// names a server with a certificate", remedy=remedy
        )
    if parts.username is not None or parts.password is not None:
        raise WrongUsage("a user or password in the URL is seen by everyone", remedy=remedy)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = f"https://{host}{'' if port == _HTTPS else f':{port}'}{parts.path}"
    return Server(parts.hostname, port, shown)


def _driver_row(family: str, name: str) -> Row:
    row: Row = {"name": name, "family": family, "is_ready": True, "problem": None}
    try:
        settings = settings_of(family, name)
        capabilities = getattr(load_driver(family, name), "CAPABILITIES", ())
    except WrongUsage as error:
        problem = f"{error.message}: {error.remedy}"
        return {**row, "is_ready": False, "problem": problem, "capabilities": [], "settings": []}
    return {
        **row,
        "capabilities": sorted(str(one) for one in capabilities),
        "settings": [_setting_row(setting) for setting in settings],
    }


def _setting_row(setting: SettingDoc) -> Mapping[str, Any]:
    return {
        "name": setting.name,
        "about": setting.about,
        "is_required": setting.default is None,
        "is_secret": setting.is_secret,
        "default": setting.default,
        "example": setting.example or None,
    }


def _moment(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat().replace("+00:00", "Z")
