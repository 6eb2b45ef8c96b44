"""What every request passes first: who is it, and is it too large."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metier.operations.paths import ROOT
from metier.web.errors import Unauthorized, error_response
from metier.web.identity import Authenticate, identify

# Probes ask these without a token; they tell nothing.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
UPLOADS = f"{ROOT}/uploads/"
# A site file of 100,000 nodes takes about 10 MiB.
BODY_LIMIT_BYTES = 32 << 20


class Gate:
    """ASGI middleware: lets known callers in, with bodies of bounded size."""

    def __init__(
        self, app: ASGIApp, authenticate: Authenticate, body_limit_bytes: int = BODY_LIMIT_BYTES
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._limit = body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        identity = identify(request, self._authenticate)
        if identity is None:
            error = Unauthorized(
                "this controller does not know who asks", remedy="send a token: `Authorization: Bearer …`"
            )
            refusal = error_response(error, {"www-authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        request.state.identity = identity
        is_upload = scope["path"].startswith(UPLOADS)
        await self._app(scope, receive if is_upload else self._bounded(receive), send)

    def _bounded(self, receive: Receive) -> Receive:
        left = self._limit

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"the request's body is larger than {self._limit} bytes")
            return message

        return bounded
