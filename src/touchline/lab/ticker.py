"""A market of the lab's own whose price is changed by the feed and seen as it is pushed: the whole way of a price.

Invariant: each price is its own, so that the one that is shown tells which changes have come through.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from touchline.lab.bettors import ShownMarket, problem_of
from touchline.lab.clock import monotonic_s
from touchline.lab.http_client import TIMEOUT, HttpClient
from touchline.lab.market_maker import message
from touchline.lab.samples import Tally
from touchline.lab.stream_client import SUBSCRIBE, Line

SHOWN_WITHIN_S: Final = 1.0  # a price that takes longer is no live one
LOWEST: Final = 200  # the first price, in hundredths
PRICES: Final = 9_000  # then the first one again


class Ticker:
    """Changes the price of `market_id` as the feed `token` is of, and waits until it is shown."""

    def __init__(self, http: HttpClient, token: str, market_id: str) -> None:
        self._http = http
        self._token = token
        self.market_id = market_id
        self._ticks = 0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._tally = Tally(monotonic_s())

    @asynccontextmanager
    async def running(self, address: str) -> AsyncIterator["Ticker"]:
        """Follow the market at the platform at `address` until the block ends."""
        line = Line(address, self._tally, self.market_id)
        line.follow([self.market_id], self._show)
        try:
            yield self
        finally:
            await line.close()

    async def tick(self) -> tuple[int | None, str]:
        """Make a new price; return its status and code: 200 once it is shown, or what the feed was answered."""
        self._ticks += 1
        number = self._ticks
        shown = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            exchange = await self._http.ask(self._change(number))
            if exchange.status != 200:
                code = exchange.lost if exchange.status is None else problem_of(exchange).code
                return exchange.status, code or ""
            async with asyncio.timeout(SHOWN_WITHIN_S):
                await shown
        except TimeoutError:
            return None, TIMEOUT
        finally:
            self._waiting.pop(number, None)
        return 200, ""

    def connections(self) -> dict[str, int]:
        """Return what became of the subscription since the last call: how often it was made, lost, resumed."""
        found: Counter[str] = Counter()
        for sample in self._tally.take():
            if sample.kind == SUBSCRIBE:
                found.update({"made": sample.statuses.get("200", 0)})
                found.update({code.lower(): amount for code, amount in sample.codes.items()})
        return dict(+found)

    def _change(self, number: int) -> bytes:
        hundredths = LOWEST + number % PRICES
        odds = {"home": f"{hundredths // 100}.{hundredths % 100:02}", "draw": "3.40", "away": "3.75"}
        selections = [{"selection_id": key, "name": key.title(), "odds": price} for key, price in odds.items()]
        event_id = self.market_id.partition(":")[0]
        body = [message("odds_change", event_id, market_id=self.market_id, selections=selections)]
        return self._http.request("POST", "/feed/messages", self._token, msgspec.json.encode(body))

    def _show(self, shown: ShownMarket) -> None:
        """End the wait for the price that is shown, and for those before it."""
        home = next((one.odds for one in shown.selections if one.selection_id == "home"), None)
        hundredths = 0 if home is None else round(float(home) * 100)
        for number in self._came_with(hundredths - LOWEST):
            if not self._waiting[number].done():
                self._waiting[number].set_result(None)

    def _came_with(self, place: int) -> Sequence[int]:
        """Return the ticks that wait and are done once the price at a place of the row is shown."""
        last = max((number for number in self._waiting if number % PRICES == place), default=0)
        return [number for number in self._waiting if number <= last]
