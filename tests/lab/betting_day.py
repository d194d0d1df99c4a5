"""A day of betting on real books, with the history that its clients would have kept."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import (
    AWAY_WINS,
    HOME_WINS,
    Stores,
    bet_on,
    move,
    open_player,
    place,
    price,
    work_all,
)
from touchline.adapters.system import SystemClock
from touchline.core.bet import Accept
from touchline.core.errors import Rejection
from touchline.core.ids import MarketId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market
from touchline.core.money import format_minor
from touchline.core.price import format_odds
from touchline.lab.bets_judged import Tolerance
from touchline.lab.checker import check
from touchline.lab.records import BETS, BetAttempt, Checks
from touchline.wire.bets_v1 import bet_to_wire
from touchline.wire.problems_v1 import STATUS_OF_CODE

OPEN, VOIDED, TWICE = MarketId("open"), MarketId("voided"), MarketId("twice")


@dataclass
class Clients:
    """What all clients saw, as they write it down."""

    stores: Stores
    attempts: list[BetAttempt] = field(default_factory=list)

    async def bet(
        self,
        market: Market,
        player: PlayerId,
        selection: SelectionId = HOME,
        key: str | None = None,
        *,
        accept: Accept = Accept.NONE,
        stake: int = 1_000,
        answered: bool = True,
    ) -> BetAttempt:
        """Ask for a bet at the prices of `market`; where not `answered`, the answer is lost on the way."""
        request = bet_on(self.stores, market, player, selection, stake, key, accept)
        sent_at = SystemClock().now()
        answer = await place(self.stores, request)
        kept = BetAttempt(
            user=1,
            player_id=player,
            key=key,
            market_id=market.market_id,
            selection_id=selection,
            odds=format_odds(request.odds_milli),
            odds_version=request.odds_version,
            stake=format_minor(stake, "EUR"),
            accept=accept.value,
            attempt=1,
            intended_s=0.0,
            sent_at=sent_at,
        )
        if answered:
            refused = isinstance(answer, Rejection)
            kept = msgspec.structs.replace(
                kept,
                answered_at=SystemClock().now(),
                status=STATUS_OF_CODE[answer.code] if refused else 201,
                code=answer.code.value if refused else None,
                bet=None if refused else _wire(answer.bet),
            )
        self.attempts.append(kept)
        return kept

    def index(self, key: str | None, attempt: int = 1) -> int:
        """Return where the nth attempt under a key stands in the history."""
        return [n for n, kept in enumerate(self.attempts) if kept.key == key][attempt - 1]

    def changed(self, key: str | None, attempt: int = 1, **changed: Any) -> BetAttempt:
        """Return an attempt with other fields; `bet` changes fields of its answer."""
        old = self.attempts[self.index(key, attempt)]
        if "bet" in changed:
            changed["bet"] = {**(old.bet or {}), **changed["bet"]}
        return msgspec.structs.replace(old, **changed)

    def change(self, key: str | None, attempt: int = 1, **changed: Any) -> None:
        """Rewrite an attempt."""
        self.attempts[self.index(key, attempt)] = self.changed(key, attempt, **changed)

    def again(self, key: str | None, attempt: int = 1, **changed: Any) -> None:
        """Add an attempt once more, with other fields."""
        self.attempts.append(self.changed(key, attempt, **changed))

    def write(self, path: Path) -> Path:
        """Write the history, and return where."""
        path.write_bytes(msgspec.json.Encoder().encode_lines(self.attempts))
        return path


def _wire(bet: Any) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(bet_to_wire(bet)), type=dict[str, Any])


async def betting_day(stores: Stores) -> Clients:
    """Bet on a market that is settled, one that is settled anew, one that is voided and one that stays open."""
    clients = Clients(stores)
    ann, bob = await open_player(stores, "ann"), await open_player(stores, "bob")
    cid = await open_player(stores, "cid", deposited=1_000)
    settled, still_open = await price(stores), await price(stores, market_id=OPEN)
    voided, twice = await price(stores, market_id=VOIDED), await price(stores, market_id=TWICE)
    await clients.bet(settled, ann, HOME, "won")
    await clients.bet(settled, bob, DRAW, "lost")
    await clients.bet(settled, bob, AWAY)
    await clients.bet(settled, bob, DRAW, answered=False)
    await clients.bet(voided, ann, HOME, "void")
    await clients.bet(twice, ann, AWAY, "twice")
    await clients.bet(twice, cid, HOME, "taken back")
    await clients.bet(still_open, ann, HOME, "open")
    newer = await price(stores, {HOME: 2_100}, market_id=OPEN)
    await clients.bet(still_open, bob, HOME, "offered again")
    await clients.bet(newer, bob, HOME, "offered again")
    await clients.bet(still_open, bob, HOME, "better", accept=Accept.BETTER)
    await clients.bet(newer, bob, HOME, "cut off", answered=False)
    await clients.bet(newer, bob, HOME, "cut off")
    await clients.bet(newer, bob, HOME, "never heard of", answered=False)
    await clients.bet(newer, ann, HOME, "too much", stake=200_000)
    await clients.bet(newer, ann, HOME, stake=200_000, answered=False)
    await move(stores, bob, 5_000, "out", TransferKind.WITHDRAWAL)
    await stores.trading.settle(MARKET, HOME_WINS)
    await stores.trading.void(VOIDED)
    await stores.trading.settle(TWICE, HOME_WINS)
    await work_all(stores)
    await move(stores, cid, 2_000, "out", TransferKind.WITHDRAWAL)  # what he owes once it is taken back
    await stores.trading.roll_back(TWICE)
    await stores.trading.settle(TWICE, AWAY_WINS)
    await work_all(stores)
    assert await stores.books.discrepancies() == []
    return clients


async def verdict(clients: Clients, run_dir: Path, tolerance: Tolerance | None = None) -> Checks:
    """Return what the checker says of the books and of the history, which is written into `run_dir`."""
    assert clients.stores.dsn is not None
    return await check(clients.stores.dsn, clients.write(run_dir / BETS), tolerance)
