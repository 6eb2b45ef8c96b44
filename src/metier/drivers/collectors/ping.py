"""Whether a node answers ICMP echo requests."""

import ipaddress
import os
import select
import socket
import struct
import time
from typing import Self

from metier.domain.image import CollectorSpec
from metier.domain.observation import CheckResult

_REQUEST_V4, _REPLY_V4 = 8, 0
_REQUEST_V6, _REPLY_V6 = 128, 129
_HEADER = struct.Struct("!BBHHH")
_SECRET_BYTES = 16
# A request is sent again this often: one lost packet is no failure.
_INTERVAL_S = 1.0
_MAX_REPLY_BYTES = 2048


class PingCollector:
    """ICMP echo from this process: no program is run, and privilege is used only where the system asks."""

    def check(self, spec: CollectorSpec, address: str) -> CheckResult:
        try:
            with _open_echo(ipaddress.ip_address(address)) as echo:
                answered = echo.ask(spec.timeout_s)
        except PermissionError:
            reason = "this user may not send ICMP; let its group by net.ipv4.ping_group_range"
            return CheckResult(str(spec), False, f"cannot ping {address}: {reason}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return CheckResult(str(spec), False, f"cannot ping {address}: {reason}")
        if answered:
            return CheckResult(str(spec), True)
        return CheckResult(str(spec), False, f"{address} did not answer ping within {spec.timeout_s:g} s")


def _open_echo(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> "_Echo":
    is_v6 = address.version == 6
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if is_v6 else socket.IPPROTO_ICMP
    try:
        opened, is_raw = socket.socket(family, socket.SOCK_DGRAM, protocol), False
    except PermissionError:
        # Which users may use plain ICMP sockets is the system's choice (net.ipv4.ping_group_range).
        opened, is_raw = socket.socket(family, socket.SOCK_RAW, protocol), True
    try:
        opened.connect((str(address), 0))
        opened.setblocking(False)
    except BaseException:  # whatever it is, the socket goes first
        opened.close()
        raise
    types = (_REQUEST_V6, _REPLY_V6) if is_v6 else (_REQUEST_V4, _REPLY_V4)
    return _Echo(opened, *types, is_raw=is_raw)


class _Echo:
    """A socket for echo requests to one address; a context manager that closes it.

    `is_raw` sockets get whole IPv4 packets, and what is meant for all pingers of this machine.
    """

    def __init__(self, opened: socket.socket, request: int, reply: int, *, is_raw: bool) -> None:
        self._socket = opened
        self._request = request
        self._reply = reply
        self._is_raw = is_raw
        # Known to nobody else, so that no other pinger's reply and no forged one passes for ours.
        self._secret = os.urandom(_SECRET_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, timeout_s: float) -> bool:
        """Send requests until one is answered or the time is up."""
        until = time.monotonic() + timeout_s
        sequence = 0
        while (left_s := until - time.monotonic()) > 0:
            sequence += 1
            self._socket.send(_packet(self._request, sequence, self._secret))
            if self._hears_reply(time.monotonic() + min(_INTERVAL_S, left_s)):
                return True
        return False

    def _hears_reply(self, until: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while (left_s := until - time.monotonic()) > 0:
            if poll.poll(left_s * 1000) and self._is_reply(self._socket.recv(_MAX_REPLY_BYTES)):
                return True
        return False

    def _is_reply(self, packet: bytes) -> bool:
        if self._is_raw and self._reply == _REPLY_V4 and packet:
            packet = packet[(packet[0] & 15) * 4 :]  # the IPv4 header tells its own length, in words
        is_reply = len(packet) > _HEADER.size and packet[0] == self._reply
        return is_reply and packet[_HEADER.size :] == self._secret


def _packet(kind: int, sequence: int, secret: bytes) -> bytes:
    identity = os.getpid() & 0xFFFF
    plain = _HEADER.pack(kind, 0, 0, identity, sequence & 0xFFFF) + secret
    return _HEADER.pack(kind, 0, _checksum(plain), identity, sequence & 0xFFFF) + secret


def _checksum(packet: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of a packet of even length."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
