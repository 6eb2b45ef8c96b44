"""Whether a node takes TCP connections on a port."""

import ipaddress
import socket

from metier.domain.image import CollectorSpec
from metier.domain.observation import CheckResult


class TcpCollector:
    """Connects and closes; nothing is sent and nothing read."""

    def check(self, spec: CollectorSpec, address: str) -> CheckResult:
        if spec.port is None:
            return CheckResult(str(spec), False, "the collector has no port: write tcp:PORT")
        try:
            # Names are not looked up: that may take longer than the deadline.
            ipaddress.ip_address(address)
            with socket.create_connection((address, spec.port), timeout=spec.timeout_s):
                return CheckResult(str(spec), True)
        except TimeoutError:
            reason = f"no answer within {spec.timeout_s:g} s"
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        return CheckResult(str(spec), False, f"cannot connect to {address} port {spec.port}: {reason}")
