"""Asking our own parts over HTTP whether they serve.

Invariant: a probe reaches the part itself, whatever proxy the environment names.
"""

import asyncio
import http.client
from collections.abc import Mapping
from typing import Final

from touchline.runtime.addresses import LOCALHOST

READY_PATH: Final = "/health/ready"
PROBE_TIMEOUT_S: Final = 5


async def answers(port: int) -> bool:
    """Tell whether a part says that it is ready."""
    status, _ = await probe(port, {})
    return status == http.HTTPStatus.OK


async def probe(port: int, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    """Return what a part says when asked whether it is ready, as status and headers; 0 where nobody answers."""
    return await asyncio.to_thread(_get, port, dict(headers))


def _get(port: int, headers: dict[str, str]) -> tuple[int, Mapping[str, str]]:
    connection = http.client.HTTPConnection(LOCALHOST, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", READY_PATH, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders())
    except (OSError, http.client.HTTPException):
        return 0, {}
    finally:
        connection.close()
