"""URLs that something may be fetched from: which are taken, and how they are shown."""

from urllib.parse import SplitResult, urlsplit

from metier.domain.errors import WrongUsage

SCHEMES = ("http", "https")

_LONGEST = 4096
_REMEDY = "give an address such as https://example.org/web.ova"


def checked_url(text: str) -> str:
    """Return `text` if it is an http(s) URL without a user's name and password in it.

    Raises:
        WrongUsage: It is not; what it holds beyond host and path is not repeated.
    """
    if len(text) > _LONGEST or not text.isascii() or any(letter <= " " for letter in text):
        raise WrongUsage(
            f"this is no URL: it may have {_LONGEST} letters of ASCII, and no spaces", remedy=_REMEDY
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise WrongUsage("this is no URL", remedy=_REMEDY) from error
    if parts.scheme not in SCHEMES:
        raise WrongUsage(f"cannot fetch from a URL of scheme {parts.scheme!r}", remedy=_REMEDY)
    if not parts.hostname or port == 0:
        raise WrongUsage(f"{_shown(parts)} names no host", remedy=_REMEDY)
    if "@" in parts.netloc:
        raise WrongUsage(
            f"{_shown(parts)} holds a user's name, which would be recorded",
            remedy="fetch it yourself and pass it on: `curl … | metier image import --file -`",
        )
    return text


def shown_url(url: str) -> str:
    """Return a URL without what may be secret: user, query and fragment."""
    return _shown(urlsplit(url))


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_url(location: str) -> bool:
    """Tell a URL from a path."""
    return location.partition("://")[0].lower() in SCHEMES
