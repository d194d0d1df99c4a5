"""A process of the platform: an HTTP port, work beside it, and an end that is told to it by signals.

Invariant: SIGTERM and SIGINT end it once the requests it has are answered; SIGUSR1 makes it say that it is not
ready while it goes on serving, so that the balancer lets go of it first.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from touchline.core.errors import Outage
from touchline.edge.http.app import HttpApp
from touchline.edge.http.protocol import PodProtocol
from touchline.edge.http.service import Readiness

HOST: Final = "127.0.0.1"  # unless told otherwise nobody beyond this machine is listened to
KEEP_ALIVE_S: Final = 5
GRACE_S: Final = 10
BACKLOG: Final = 2_048
_log = logging.getLogger("touchline.serving")

Work = Callable[[], Awaitable[None]]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`: uvicorn would raise them again at its end, and kill what is left to close."""
        yield


def server_of(application: Any, port: int, host: str = HOST) -> uvicorn.Server:
    """Return what answers HTTP at `host` and `port` with an ASGI application, an `HttpApp` on a shorter way."""
    return _Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            http=PodProtocol if isinstance(application, HttpApp) else "httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
    )


async def serve(
    application: Any, port: int, readiness: Readiness, works: Mapping[str, Work], host: str = HOST
) -> None:
    """Answer HTTP at `host` and `port` and keep each of `works` going, until told to stop.

    A work that meets an `Outage` is begun again after it; anything else that it raises ends the process, for its
    supervisor to see and start again.
    """
    server = server_of(application, port, host)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        readiness.ready = False  # which ends what never ends by itself
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGUSR1, setattr, readiness, "ready", False)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_again_and_again(name, work)) for name, work in works.items()]
        readiness.ready = True
        await server.serve()
        readiness.ready = False
        for task in tasks:
            task.cancel()


async def _again_and_again(name: str, work: Work) -> None:
    while True:
        try:
            await work()
            return
        except Outage as outage:
            _log.warning("%s: %s; it goes on in %d s", name, outage, outage.retry_after_s)
            await asyncio.sleep(outage.retry_after_s)
