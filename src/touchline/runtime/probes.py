"""Asking our own parts over HTTP whether they serve.

Invariant: a probe reaches the part itself, whatever proxy the environment names.
"""

import ssl
from typing import Final

import httpx

from touchline.runtime.addresses import LOCALHOST

READY_PATH: Final = "/health/ready"
PROBE_TIMEOUT_S: Final = 5


def client() -> httpx.AsyncClient:
    """Return a client for our own parts, past any proxy."""
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares reading the system's certificates, 60 ms
    return httpx.AsyncClient(trust_env=False, verify=no_tls, timeout=PROBE_TIMEOUT_S)


async def answers(http: httpx.AsyncClient, port: int, path: str = READY_PATH) -> bool:
    """Tell whether a part says 200 at `path`."""
    try:
        return (await http.get(f"http://{LOCALHOST}:{port}{path}")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
