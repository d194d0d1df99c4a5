"""Addresses on this machine for parts that nobody outside it talks to.

Invariant: a port given to a part lies below the range that the system hands to outgoing connections, so that the
part finds it free again when it is restarted.
"""

import random
import socket
from ipaddress import AddressValueError, IPv4Address
from typing import Final

LOCALHOST: Final = "127.0.0.1"
FIRST_PORT: Final = 20_000
LAST_PORT: Final = 31_999
TRIES_MAX: Final = 200
_given: Final[set[int]] = set()


def is_free(port: int, host: str = LOCALHOST) -> bool:
    """Tell whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def is_own(host: str) -> bool:
    """Tell whether `host` is one IPv4 address of this machine, at which others can find who listens at it."""
    try:
        return not IPv4Address(host).is_unspecified and is_free(0, host)
    except AddressValueError:
        return False


def free_port() -> int:
    """Return a port that is free now and that this process has not given before."""
    for _ in range(TRIES_MAX):
        port = random.randint(FIRST_PORT, LAST_PORT)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port was found between {FIRST_PORT} and {LAST_PORT}")
