"""A gateway fed with ticks of one market, as many as it can send; or by the odds' authority at a URL."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import uvloop

from touchline.adapters.system import SystemClock
from touchline.adapters.tokens import Tokens
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.bet import Bet
from touchline.core.delivery import Board, Change, Image, MarketChanged
from touchline.core.ids import BetId, EventId, MarketId, PlayerId
from touchline.edge.garbage import collect_seldom
from touchline.edge.gateway import Gateway
from touchline.edge.push.framing import websocket_frame
from touchline.edge.push.hub import Hub
from touchline.edge.push.own_bets import OwnBets
from touchline.ports.stream import OddsStream
from touchline.runtime.addresses import LOCALHOST

TIMEOUT_MS = 5_000
OVERHEAD_BYTES = len('{"op":"change","cursor":1000000,"markets":[]}')


class Ticks:
    """The `OddsStream` port, as fast as it can."""

    def __init__(self, gateway: Gateway, clients: int, frame_bytes: int) -> None:
        self._gateway, self._clients = gateway, clients
        self._body_bytes = frame_bytes - OVERHEAD_BYTES
        self._cursor = 1_000_000

    async def follow(self) -> AsyncIterator[Image | Sequence[Change]]:
        """See `ports.stream.OddsStream`."""
        yield Image("bench", self._cursor, [self._change()], ())
        while self._gateway.hub.images_sent < self._clients:  # noqa: ASYNC110  # nothing tells of images
            await asyncio.sleep(0.01)
        while True:
            yield [self._change()]
            await asyncio.sleep(0)

    def _change(self) -> MarketChanged:
        self._cursor += 1
        head = '{"market_id":"m","name":"'
        body = head + "x" * (self._body_bytes - len(head) - 2) + '"}'
        return MarketChanged(
            self._cursor, MarketId("m"), EventId("e"), "active", self._cursor, body.encode(), None
        )


class NoBets:
    """There are none."""

    async def get(self, player_id: PlayerId, bet_id: BetId) -> Bet | None:
        return None


async def main(port: int, clients: int, frame_bytes: int, authority: str) -> None:
    """Serve until ended."""
    collect_seldom()
    clock = SystemClock()
    tokens = Tokens("s" * 32, timedelta(hours=1), 1, clock)
    gateway = Gateway(Hub(Board(), clock, websocket_frame), OwnBets(NoBets(), tokens))
    stream: OddsStream = Ticks(gateway, clients, frame_bytes)
    if authority:
        stream = ValkeyOddsStream(authority, TIMEOUT_MS)
    async with asyncio.TaskGroup() as group:
        for work in (gateway.hub.beat, gateway.sweep, lambda: gateway.serve(LOCALHOST, port)):
            group.create_task(work())
        group.create_task(gateway.hub.follow(stream))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
