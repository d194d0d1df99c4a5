"""A batch's answers are those of its requests one by one, wherever it is cut and whenever it was looked up."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from functools import partial
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import NOON, HandClock
from tests.samples import AWAY, DRAW, HOME, MARKET, market
from tests.scene import RULES
from touchline.adapters.memory.accounts import MemoryAccounts
from touchline.adapters.memory.bets import MemoryBets
from touchline.adapters.memory.tables import Exposure, HeldWallet, Player, Tables
from touchline.core.acceptance import Acceptance, Rules, decide
from touchline.core.account import Role
from touchline.core.batch import Batch, HeldAccount, LookedUp
from touchline.core.bet import Accept, PlaceBet
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.funds import MoveFunds, decide_funds
from touchline.core.ids import BetId, MarketId, PlayerId
from touchline.core.ledger import TransferKind, Wallet
from touchline.core.limits import Limit, LimitKind, Period
from touchline.core.market import MarketStatus, offered_milli
from touchline.ports import Balance, Placed

PLAYERS = [PlayerId(name) for name in ("ann", "bob", "eve")]
SHUT = MarketId("shut")
MARKETS = {
    MARKET: market(odds_version=2),
    SHUT: market(market_id=SHUT, status=MarketStatus.SUSPENDED, odds_version=1),
}
# What home was at version 1, which a tolerant book honours.
FORMERLY = replace(MARKETS[MARKET].selections[0], odds_milli=2_510)
PAST = replace(MARKETS[MARKET], odds_version=1, selections=(FORMERLY, *MARKETS[MARKET].selections[1:]))
TIGHT = replace(RULES, exposure_max_minor=2_500)
TOLERANT = replace(RULES, odds_tolerance_pct=Fraction(1))

Request = PlaceBet | MoveFunds
numbers = count(1)
keys = st.sampled_from([None, "k1", "k2", "k3"])
bets = st.builds(
    lambda **fields: PlaceBet(bet_id=BetId(UUID(int=next(numbers))), **fields),
    player_id=st.sampled_from([*PLAYERS[:2] * 4, PLAYERS[2], PlayerId("nobody")]),
    market_id=st.sampled_from([MARKET] * 8 + [SHUT, MarketId("none")]),
    selection_id=st.sampled_from([HOME, HOME, DRAW, AWAY]),
    odds_milli=st.sampled_from([2_500, 2_500, 3_200, 2_510]),
    odds_version=st.sampled_from([2, 2, 1]),
    stake_minor=st.sampled_from([10, 10, 900, 900, 2_000, 9]),
    idempotency_key=keys,
    accept=st.sampled_from([Accept.ANY, Accept.ANY, Accept.NONE]),
)
funds = st.builds(
    lambda **fields: MoveFunds(move_id=UUID(int=next(numbers)), **fields),
    player_id=st.sampled_from([*PLAYERS, PlayerId("nobody")]),
    kind=st.sampled_from([TransferKind.DEPOSIT, TransferKind.WITHDRAWAL]),
    amount_minor=st.sampled_from([50, 1_000, 3_000]),
    idempotency_key=st.sampled_from(["k1", "k2", "k3", "k4", "k5", "k6"]),
)
limits = st.dictionaries(
    st.tuples(st.sampled_from(LimitKind), st.sampled_from(Period)),
    st.sampled_from([1_000, 4_000]).map(Limit),
    max_size=2,
)


@dataclass
class Cut:
    """Requests that are decided together; whether they were looked up before those before them were on record."""

    requests: list[Request]
    early: bool


cuts = st.lists(
    st.builds(Cut, st.lists(bets | bets | bets | funds, min_size=2, max_size=8), st.booleans() | st.just(True)),
    min_size=1,
    max_size=6,
)


def books(limited: Sequence[dict[tuple[LimitKind, Period], Limit]]) -> Tables:
    tables = Tables(markets=dict(MARKETS))
    tables.history = {(MARKET, 1): PAST, (MARKET, 2): MARKETS[MARKET], (SHUT, 1): MARKETS[SHUT]}
    for player, kept in zip(PLAYERS, limited, strict=True):
        tables.players[player] = Player(player, player, Role.PLAYER, "", "EUR", limits=kept)
        tables.wallets[player] = HeldWallet(Wallet(5_000), "EUR", 1, NOON)
    tables.players[PLAYERS[2]].excluded_until = NOON + timedelta(days=1)
    return tables


def look_up(tables: Tables, next_seq: int) -> LookedUp:
    """Everything there is, as a shard's records would tell it."""
    accounts = [account for player in tables.players if (account := tables.account(player)) is not None]
    return LookedUp(
        next_seq=next_seq,
        accounts={a.player_id: HeldAccount(a, tables.wallets[a.player_id].version) for a in accounts},
        exposures={place: exposure.liability_minor for place, exposure in tables.exposures.items()},
        bets={key: tables.bets[bet_id] for key, bet_id in tables.bets_by_key.items()},
        moves=dict(tables.funds_moves),
        spent={a.player_id: tables.spent(a.player_id, NOON) for a in accounts if a.limits},
        asked_milli={
            (MARKET, 1, selection): odds
            for selection in (HOME, DRAW, AWAY)
            if (odds := offered_milli(PAST.status, PAST.selections, selection)) is not None
        },
    )


def record(tables: Tables, batch: Batch) -> None:
    """Put a batch on record, as a shard's writer does."""
    for posting in batch.postings:
        tables.post(posting)
    for player, moved in batch.wallets.items():
        assert tables.wallets[player].balance == Balance(moved.wallet.balance_minor, moved.currency, moved.version)
    for bet in batch.bets:
        tables.bets[bet.bet_id] = bet
        if bet.idempotency_key is not None:
            tables.bets_by_key[bet.player_id, bet.idempotency_key] = bet.bet_id
    for place, grown in batch.exposures.items():
        old = tables.exposures.get(place, Exposure())
        tables.exposures[place] = Exposure(
            old.bets + grown.bets,
            old.stakes_minor + grown.stakes_minor,
            old.liability_minor + grown.liability_minor,
        )
    tables.funds_moves |= {(moved.player_id, moved.idempotency_key): moved for moved in batch.moves}


def in_batch(batch: Batch, request: Request) -> str:
    try:
        answer = batch.place(request) if isinstance(request, PlaceBet) else batch.move_funds(request)
    except Rejection as refused:
        return told(refused)
    if isinstance(answer, Rejection):
        return told(answer)
    what = answer.bet if isinstance(answer, Acceptance) else answer.moved
    if answer.posting is None:
        return f"{what} None"
    version = batch.wallets[request.player_id].version
    return f"{what} {Balance(answer.posting.wallet.balance_minor, 'EUR', version)}"


async def alone(tables: Tables, rules: Rules, request: Request) -> str:
    clock = HandClock()
    try:
        if isinstance(request, PlaceBet):
            placed = await MemoryBets(tables, clock, rules).place(request, partial(decide, request))
            return f"{placed.bet} {placed.balance}" if isinstance(placed, Placed) else told(placed)
        moved = await MemoryAccounts(tables, clock).move_funds(request, partial(decide_funds, request))
        return told(moved) if isinstance(moved, Rejection) else f"{moved[0]} {moved[1]}"
    except Rejection as refused:
        return told(refused)


def told(refused: Rejection) -> str:
    return f"{refused.code} {refused.detail} {sorted(refused.extra.items())}"


@settings(max_examples=400)
@given(cuts=cuts, limited=st.tuples(limits, limits, limits), rules=st.sampled_from([RULES, TIGHT, TOLERANT]))
def test_a_batch_answers_as_its_requests_would_be_one_by_one(
    cuts: list[Cut], limited: tuple[dict[tuple[LimitKind, Period], Limit], ...], rules: Rules
) -> None:
    ours, theirs = books(limited), books(limited)
    before: Batch | None = None
    seq = 7
    for cut in cuts:
        looked_up = look_up(ours, seq) if cut.early else None
        if before is not None:
            record(ours, before)
            seq = before.next_seq
        looked_up = looked_up or look_up(ours, seq)
        if not rules.odds_tolerance_pct:
            looked_up = replace(looked_up, asked_milli={})
        batch = Batch(looked_up, MARKETS, rules, NOON, before)
        for request in cut.requests:
            assert in_batch(batch, request) == asyncio.run(alone(theirs, rules, request))
        assert (batch.first_seq, batch.next_seq) == (seq, seq + len(batch.postings))
        before = batch
    if before is not None:
        record(ours, before)
    for kept in ("wallets", "bets", "bets_by_key", "exposures", "transfers", "funds_moves"):
        assert getattr(ours, kept) == getattr(theirs, kept)


def test_a_look_that_saw_half_of_what_was_done_before_is_a_fault() -> None:
    tables = books([{}, {}, {}])
    before = Batch(look_up(tables, 7), MARKETS, RULES, NOON)
    for key in ("k1", "k2"):
        deposit = MoveFunds(
            move_id=UUID(int=next(numbers)),
            player_id=PLAYERS[0],
            kind=TransferKind.DEPOSIT,
            amount_minor=5,
            idempotency_key=key,
        )
        batch = before.move_funds(deposit)
        assert not isinstance(batch, Rejection)
    for seen in (6, 8, 10):
        with pytest.raises(Fault):
            Batch(look_up(tables, seen), MARKETS, RULES, NOON, before)
    assert before.hidden_from(look_up(tables, 7), PLAYERS)
    assert not before.hidden_from(look_up(tables, 7), PLAYERS[1:])
    assert not before.hidden_from(look_up(tables, 9), PLAYERS)


def test_a_batch_keeps_none_but_the_one_before_it() -> None:
    tables = books([{}, {}, {}])
    batches = [Batch(look_up(tables, 7), MARKETS, RULES, NOON)]
    first = weakref.ref(batches[0])
    gc.disable()  # it goes without being looked for
    try:
        for number in range(3):
            deposit = MoveFunds(
                move_id=UUID(int=next(numbers)),
                player_id=PLAYERS[0],
                kind=TransferKind.DEPOSIT,
                amount_minor=5,
                idempotency_key=f"k{number}",
            )
            assert not isinstance(batches[0].move_funds(deposit), Rejection)
            batches = [Batch(look_up(tables, batches[0].first_seq), MARKETS, RULES, NOON, batches[0])]
        assert first() is None
    finally:
        gc.enable()


def test_nobody_is_refused_for_what_was_refused_to_another() -> None:
    batch = Batch(look_up(books([{}, {}, {}]), 1), MARKETS, RULES, NOON)
    request = PlaceBet(
        bet_id=BetId(UUID(int=next(numbers))),
        player_id=PLAYERS[0],
        market_id=MARKET,
        selection_id=HOME,
        odds_milli=2_500,
        odds_version=2,
        stake_minor=5_001,
        idempotency_key="k",
    )
    refused = batch.place(request)
    assert isinstance(refused, Rejection)
    assert refused.code is Code.INSUFFICIENT_BALANCE
    assert (batch.facts, batch.wallets, batch.exposures) == ([], {}, {})
    assert isinstance(batch.place(replace(request, stake_minor=5_000)), Acceptance)
