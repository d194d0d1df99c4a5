"""A server that does nothing but answer: one answer to each piece that arrives, as requests come one by one."""

import asyncio
import sys
from typing import cast

import uvloop

MARKET = (
    b'{"market_id":"m","event_id":"e","name":"Match odds","market_type":"match_odds","status":"active",'
    b'"odds_version":1,"selections":[{"selection_id":"home","name":"Home","odds":"2.10","status":"active"},'
    b'{"selection_id":"draw","name":"Draw","odds":"3.40","status":"active"},'
    b'{"selection_id":"away","name":"Away","odds":"3.75","status":"active"}],'
    b'"bet_delay_ms":0,"updated_at":"2026-01-01T00:00:00Z"}'
)
BET = (
    b'{"bet_id":"00000000-0000-0000-0000-000000000001","market_id":"m","event_id":"e","selection_id":"home",'
    b'"odds":"2.10","odds_version":1,"stake":"1.00","currency":"EUR","potential_payout":"2.10",'
    b'"status":"PLACED","result":null,"payout":null,"placed_at":"2026-01-01T00:00:00Z","settled_at":null,'
    b'"idempotency_key":"k"}'
)


def answer(status: bytes, body: bytes) -> bytes:
    """Return an answer's bytes."""
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


GET, POST = answer(b"200 OK", MARKET), answer(b"201 Created", BET)


class Null(asyncio.Protocol):
    """A connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(POST if data.startswith(b"POST") else GET)


async def main(port: int) -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Null, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
