"""What the tests of the API have."""

from tests.unit.web.serving import client, controller, local, server, site, uploads

__all__ = ["client", "controller", "local", "server", "site", "uploads"]
