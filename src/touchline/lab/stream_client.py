"""What a virtual bettor keeps of a market whose prices are pushed: one WebSocket, made again where it is lost.

Invariants: what is shown never goes back, and a push that would take it back is counted; a connection that was
lost is resumed where it left off; one that says nothing for `SILENT_S` is given up.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Final
from urllib.parse import urlsplit

import msgspec
from picows import WSError, WSFrame, WSInvalidStatusError, WSListener, WSMsgType, WSTransport, ws_connect

from touchline.lab.bettors import WENT_BACK, ShownMarket, see
from touchline.lab.clock import monotonic_s
from touchline.lab.http_client import REFUSED, RESET, TIMEOUT
from touchline.lab.records import PRICE
from touchline.lab.samples import Tally

SUBSCRIBE: Final = "subscribe"  # the kind of request: from the wish to follow until the first frame
PATH: Final = "/stream"
OPENING_MAX: Final = 64  # connections of one process that are being made at once
SUBSCRIBE_TIMEOUT_S: Final = 10.0
HEARTBEAT_MS: Final = 5_000  # asked of the server for while nothing changes
SILENT_S: Final = 3 * HEARTBEAT_MS / 1000
SWEEP_S: Final = 1.0
AGAIN_FIRST_S: Final = 0.1  # until a lost connection is made again; then twice that, and so on
AGAIN_S_MAX: Final = 2.0
FRAME_BYTES_MAX: Final = 4 * 2**20
GIVEN_UP: Final = 400  # what an error of the stream counts as: an answer, and a no

SKIPPED: Final = "VERSION_SKIPPED"  # a version was left out, and nobody said why
CONFLATED: Final = "CONFLATED"  # versions were left out, and the server says why
LOST: Final = "CONNECTION_LOST"
SILENT: Final = "SILENT"
RESUMED: Final = "RESUMED"  # after a loss: the changes that were missed
NEW_IMAGE: Final = "NEW_IMAGE"  # after a loss: what stands now

Show = Callable[[ShownMarket], None]


class Pushed(msgspec.Struct, frozen=True):
    """What a bettor reads of a frame."""

    op: str
    epoch: str | None = None
    cursor: int | str | None = None
    markets: list[ShownMarket] = []
    conflated: str | None = None
    code: str = ""


_pushed: Final = msgspec.json.Decoder(Pushed)


class Line:
    """What all subscriptions of a process share: where they go, where they are counted, who is silent."""

    def __init__(self, address: str, tally: Tally, seed: str = "") -> None:
        self.url = f"ws://{urlsplit(address).netloc}{PATH}"
        self.tally = tally
        self.chance = Random(f"{seed}:stream")
        self.opening = asyncio.Semaphore(OPENING_MAX)
        self._open: set[_Connection] = set()
        self._tasks = [asyncio.create_task(self._sweep())]

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def follow(self, markets: Sequence[str], show: Show) -> "asyncio.Task[None]":
        """Keep `markets` as they are pushed, until the line is closed; `show` is called with each."""
        task = asyncio.create_task(Subscription(self, markets, show).keep())
        self._tasks.append(task)
        return task

    async def close(self) -> None:
        """End every subscription.

        Raises:
            Exception: what ended one before, which is an error in here.
        """
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in ended:
            if isinstance(one, Exception):
                raise one

    def opened(self, connection: "_Connection") -> None:
        """Watch a connection."""
        self._open.add(connection)

    def closed(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.discard(connection)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            too_old = monotonic_s() - SILENT_S
            for connection in [one for one in self._open if one.heard_s < too_old]:
                self.tally.notice(SUBSCRIBE, monotonic_s(), SILENT)
                connection.break_off()


class Subscription:
    """A bettor's markets as the stream shows them."""

    def __init__(self, line: Line, markets: Sequence[str], show: Show) -> None:
        self._line = line
        self._markets = list(markets)
        self._show = show
        self._versions: dict[str, int] = {}
        self._epoch: str | None = None
        self._cursor: int | str | None = None
        self._caught_up = True  # False until the first frame after a loss: it may leave versions out

    async def keep(self) -> None:
        """Follow, for ever; connect again after each loss."""
        wait_s = AGAIN_FIRST_S
        while True:
            if await self._follow():
                wait_s = AGAIN_FIRST_S
            self._caught_up = False
            await asyncio.sleep(wait_s * (0.5 + self._line.chance.random()))
            wait_s = min(AGAIN_S_MAX, 2 * wait_s)

    async def _follow(self) -> bool:
        """Connect, subscribe and wait for the loss; False where it did not come to a first frame."""
        line, due_s = self._line, monotonic_s()
        line.tally.offer(SUBSCRIBE, due_s, 0.0)
        connection = _Connection(self)
        try:
            try:
                async with line.opening, asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                    await self._subscribe(connection)
            except WSInvalidStatusError as refused:
                status = 0 if refused.response is None else int(refused.response.status)
                line.tally.answer(SUBSCRIBE, due_s, monotonic_s(), status, None)
                return False
            except (OSError, WSError, TimeoutError) as lost:
                why = RESET if connection.transport else REFUSED
                line.tally.lose(SUBSCRIBE, due_s, TIMEOUT if isinstance(lost, TimeoutError) else why)
                return False
            status = GIVEN_UP if connection.code else 200
            line.tally.answer(SUBSCRIBE, due_s, monotonic_s(), status, connection.code or None)
            line.opened(connection)
            await connection.gone
            line.tally.notice(SUBSCRIBE, monotonic_s(), connection.code or LOST)
            return status == 200
        finally:
            line.closed(connection)
            connection.break_off()

    async def _subscribe(self, connection: "_Connection") -> None:
        """Connect, ask, and wait for the first frame.

        Raises:
            ConnectionError: the connection was lost before it.
        """
        await ws_connect(lambda: connection, self._line.url, max_frame_size=FRAME_BYTES_MAX)
        connection.send(msgspec.json.encode(self.request()))
        await asyncio.wait((connection.answered, connection.gone), return_when=asyncio.FIRST_COMPLETED)
        if not connection.answered.done():
            raise ConnectionResetError

    def request(self) -> dict[str, object]:
        """Return what is asked of the server: all, or what comes after the last frame."""
        asked: dict[str, object] = {"op": "subscribe", "id": "1", "markets": self._markets}
        if self._epoch is not None:
            asked["resume"] = {"epoch": self._epoch, "cursor": self._cursor}
        return asked | {"heartbeat_ms": HEARTBEAT_MS}

    def take(self, pushed: Pushed) -> None:
        """Show what a frame brings, and count it."""
        now_s, tally = monotonic_s(), self._line.tally
        if not self._caught_up:
            tally.notice(SUBSCRIBE, now_s, NEW_IMAGE if pushed.op == "image" else RESUMED)
        if pushed.conflated is not None:
            tally.notice(PRICE, now_s, CONFLATED)
        for market in pushed.markets:
            known = self._versions.get(market.market_id)
            if known is not None and market.odds_version < known:
                tally.notice(PRICE, now_s, WENT_BACK)
                continue
            if known is not None and market.odds_version > known:
                see(tally, now_s, market)
                if market.odds_version > known + 1 and pushed.conflated is None and self._caught_up:
                    tally.notice(PRICE, now_s, SKIPPED)
            self._versions[market.market_id] = market.odds_version
            self._show(market)
        self._epoch = pushed.epoch or self._epoch
        self._cursor = self._cursor if pushed.cursor is None else pushed.cursor
        self._caught_up = True


class _Connection(WSListener):
    def __init__(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()
        self._subscription = subscription
        self._begun = b""  # of a message that comes in several frames
        self.transport: WSTransport | None = None
        self.answered: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.heard_s = monotonic_s()
        self.code = ""

    def send(self, message: bytes) -> None:
        """Send a message, where there is still a connection."""
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, message)

    def break_off(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.disconnect(graceful=False)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard_s = monotonic_s()
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            message = self._begun + frame.get_payload_as_bytes()
            self._begun = b"" if frame.fin else message
            if frame.fin:
                self._take(message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def _take(self, message: bytes) -> None:
        try:
            pushed = _pushed.decode(message)
        except msgspec.DecodeError:
            self.code = "UNREADABLE"
            self.break_off()
            return
        if pushed.op == "error":
            self.code = pushed.code
        else:
            self._subscription.take(pushed)
        if not self.answered.done():
            self.answered.set_result(None)
