"""P1: `GET /odds/{id}` from PostgreSQL through one pod, beside a bare uvicorn and asyncpg handler."""

import asyncio
import sys

import asyncpg
import uvicorn

from _books import MARKET, open_market, open_players, token
from _load import drive, get
from _ratios import in_turns
from _servers import process, role, servers
from touchline.architectures.poll import assembled
from touchline.runtime.addresses import free_port

CONNECTIONS = 64
SECONDS = 5
BAR = 0.7
READ = "SELECT selections, odds_version, status FROM odds WHERE market_id = $1"


def serve_bare(dsn: str, port: int) -> None:
    """Answer every request with one row, with nothing but uvicorn and asyncpg."""
    held: list[asyncpg.Pool] = []

    async def application(scope: dict, receive: object, send: object) -> None:
        if scope["path"].startswith("/health"):
            if not held:
                held.append(await asyncpg.create_pool(dsn, min_size=10, max_size=10))
            body = b"ready"
        else:
            selections, version, status = await held[0].fetchrow(READ, scope["path"].rpartition("/")[2])
            body = b'{"selections":%b,"odds_version":%d,"status":"%b"}' % (
                selections.encode(),
                version,
                status.encode(),
            )
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(
        application,
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


async def main() -> None:
    """Measure and print."""
    async with servers() as settings:
        async with assembled(settings, "bench") as poll:
            await open_market(poll)
            [player] = await open_players(poll, 1)
        request = get(f"/odds/{MARKET}", token(settings, player))
        bare_port = free_port()
        async with (
            process(__file__, settings.postgres, str(bare_port), port=bare_port),
            role("pod", settings) as pod_port,
        ):

            async def rate(port: int) -> float:
                return (await drive(port, lambda: request, CONNECTIONS, SECONDS)).rate(200)

            await in_turns(
                f"P1: polls through one pod, {CONNECTIONS} connections",
                ("bare uvicorn + asyncpg", lambda: rate(bare_port)),
                ("GET /odds/{id}", lambda: rate(pod_port)),
                BAR,
            )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve_bare(sys.argv[1], int(sys.argv[2]))
    else:
        asyncio.run(main())
