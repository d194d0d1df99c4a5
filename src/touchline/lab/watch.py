"""What users see meanwhile: a poll, a balance, a bet, and a price that is pushed, ten times a second.

Invariant: each look is sent at its own time whatever became of those before it, and at most `OUTSTANDING_MAX` of
them are unanswered at once.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from touchline.lab.slips import Bettor, Offer, Slips
from touchline.lab.ticker import Ticker

INTERVAL_S: Final = 0.1
OUTSTANDING_MAX: Final = 300
STEADY_S: Final = 1.0  # served without a break for so long, the platform is whole again
KINDS: Final = ("odds", "balance", "bet")
PUSH: Final = "push"  # from a new price of the feed's until it is shown; where prices are pushed


class Look(msgspec.Struct, frozen=True):
    """One look: when it was sent, and what came back; `code` is a refusal's, or where a balance came from."""

    t_s: float
    kind: str
    status: int | None
    code: str
    took_ms: float

    @property
    def served(self) -> bool:
        """Tell whether the platform answered, be it by a refusal."""
        return self.status is not None and self.status < 500


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of look found in a stretch of time; seconds count from the stretch's begin."""

    looks: int
    answers: dict[str, int]  # "200", "503 UNAVAILABLE", "TIMEOUT"
    first_failed_s: float | None
    whole_again_s: float | None  # from here on every look was served; None where none had failed
    unavailable_s: float  # in all
    p50_ms: float
    p99_ms: float
    max_ms: float


class Watch:
    """Looks at the platform, from `running` on; at pushes where there is a `ticker`."""

    def __init__(
        self, slips: Slips, bettors: Sequence[Bettor], offer: Offer, stake: str, ticker: Ticker | None = None
    ) -> None:
        self._slips = slips
        self._bettors = bettors
        self._offer = offer
        self._stake = stake
        self.ticker = ticker
        self.kinds = KINDS if ticker is None else (*KINDS, PUSH)
        self._looks: list[Look] = []
        self._pending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look until the block ends, and wait for the last answers."""
        looking = asyncio.create_task(self._look_on())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            if self._pending:
                await asyncio.wait(self._pending)

    def seen(self, kind: str, from_s: float, until_s: float) -> Seen | None:
        """Return what was found in a stretch of time; None where nobody looked."""
        looks = sorted((look for look in self._looks if look.kind == kind), key=lambda look: look.t_s)
        looks = [look for look in looks if from_s <= look.t_s < until_s]
        if not looks:
            return None
        failed = [look.t_s for look in looks if not look.served]
        took = sorted(look.took_ms for look in looks)
        return Seen(
            looks=len(looks),
            answers=dict(Counter(_answer(look) for look in looks)),
            first_failed_s=round(failed[0] - from_s, 3) if failed else None,
            whole_again_s=_whole_again(looks, from_s),
            unavailable_s=round(len(failed) * INTERVAL_S, 3),
            p50_ms=round(took[len(took) // 2], 1),
            p99_ms=round(took[len(took) * 99 // 100], 1),
            max_ms=round(took[-1], 1),
        )

    async def until_whole(self, since_s: float, within_s: float) -> bool:
        """Wait until every kind was served for `STEADY_S` after `since_s`; False where it wasn't in `within_s`."""
        while self._slips.elapsed_s() < since_s + within_s:
            begin = max(since_s, self._slips.elapsed_s() - STEADY_S - INTERVAL_S)
            recent = [look for look in self._looks if look.t_s >= begin]
            looks = Counter(look.kind for look in recent)
            enough = all(looks[kind] >= STEADY_S / INTERVAL_S / 2 for kind in self.kinds)
            if enough and all(look.served for look in recent) and self._slips.elapsed_s() >= since_s + STEADY_S:
                return True
            await asyncio.sleep(INTERVAL_S)
        return False

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        while True:
            for kind in self.kinds:
                bettor = self._bettors[number % len(self._bettors)]
                number += 1
                if len(self._pending) >= OUTSTANDING_MAX:
                    self._looks.append(Look(self._slips.elapsed_s(), kind, None, "DROPPED", 0.0))
                    continue
                task = asyncio.create_task(self._look(kind, bettor))
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
            due += INTERVAL_S
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _look(self, kind: str, bettor: Bettor) -> None:
        loop = asyncio.get_running_loop()
        t_s, began = self._slips.elapsed_s(), loop.time()
        if kind == PUSH and self.ticker is not None:
            status, code = await self.ticker.tick()
        elif kind == "bet":
            asked = self._slips.ask(bettor, self._offer, self._stake, key=f"watch {t_s:.6f}")
            sent = await self._slips.send(bettor, asked)
            status, code = sent.status, sent.code or ""
        else:
            path = "/account/balance" if kind == "balance" else f"/odds/{self._offer.market_id}"
            status, code, document = await self._slips.get(bettor, path)
            code = code or str(document.get("source", ""))
        self._looks.append(Look(t_s, kind, status, code, 1000 * (loop.time() - began)))


def _answer(look: Look) -> str:
    return " ".join(part for part in (str(look.status or ""), look.code) if part)


def _whole_again(looks: Sequence[Look], from_s: float) -> float | None:
    """Return when the looks were served again for good; None where none had failed, or the last one did."""
    last = max((number for number, look in enumerate(looks) if not look.served), default=None)
    if last is None or last + 1 == len(looks):
        return None
    return round(looks[last + 1].t_s - from_s, 3)
