"""Facts read back as they were written, whatever they hold; what is of another version is never guessed at."""

import dataclasses
from datetime import UTC
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import NOON
from tests.samples import ALICE, EVENT, bet
from touchline.core.bet import Accept, Bet, BetResult, BetStatus
from touchline.core.errors import Fault
from touchline.core.facts import (
    AccountOpened,
    BetAccepted,
    BetDecided,
    Body,
    CarriedOver,
    Fact,
    FactKind,
    FoldedWallet,
    MarketDecided,
    id_of,
    kind_of,
)
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId, TransferId
from touchline.core.ledger import Transfer, TransferKind, Wallet
from touchline.core.settlement import Outcome, Settlement, SettlementKind
from touchline.wire.facts_v1 import body_from_wire, body_to_wire, fact_from_wire, fact_to_wire

ids = st.text(max_size=40)
amounts = st.integers(-(2**63), 2**63 - 1)
numbers = st.integers(0, 2**31 - 1)
instants = st.datetimes(timezones=st.just(UTC))
factors = st.fractions(0, 1, max_denominator=10**18)
outcomes = st.builds(Outcome, st.sampled_from(BetResult), factors, factors.map(lambda f: f or Fraction(1)))
bets = st.builds(
    Bet,
    bet_id=st.uuids().map(BetId),
    player_id=ids.map(PlayerId),
    event_id=ids.map(EventId),
    market_id=ids.map(MarketId),
    selection_id=ids.map(SelectionId),
    odds_milli=numbers,
    odds_version=numbers,
    stake_minor=amounts,
    currency=ids,
    status=st.sampled_from(BetStatus),
    placed_at=instants,
    idempotency_key=st.none() | ids,
    requested_odds_milli=numbers,
    requested_odds_version=numbers,
    requested_accept=st.none() | st.sampled_from(Accept),
    requested_valid_until=st.none() | instants,
    result=st.none() | st.sampled_from(BetResult),
    payout_minor=st.none() | amounts,
    settled_at=st.none() | instants,
    settlement_id=st.none() | amounts,
)
settlements = st.builds(
    Settlement,
    settlement_id=amounts,
    market_id=ids.map(MarketId),
    kind=st.sampled_from(SettlementKind),
    results=st.dictionaries(ids.map(SelectionId), outcomes, max_size=4),
    requested_at=instants,
    undoes=st.none() | amounts,
    placed_from=st.none() | instants,
    placed_until=st.none() | instants,
    bets_total=numbers,
    bets_done=numbers,
    finished_at=st.none() | instants,
)
moves = st.builds(
    FundsMoved,
    move_id=st.uuids(),
    player_id=ids.map(PlayerId),
    kind=st.sampled_from(TransferKind),
    amount_minor=amounts,
    currency=ids,
    balance_minor=amounts,
    idempotency_key=ids,
    recorded_at=instants,
)
transfers = st.builds(
    Transfer,
    transfer_id=st.uuids().map(TransferId),
    kind=st.sampled_from(TransferKind),
    debit=ids,
    credit=ids,
    amount_minor=amounts,
    currency=ids,
    bet_id=st.none() | st.uuids().map(BetId),
    recorded_at=instants,
)
bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(AccountOpened, player_id=ids.map(PlayerId), currency=ids, opened_at=instants),
    moves,
    st.builds(BetAccepted, bet=bets),
    st.builds(
        BetDecided,
        bet_id=st.uuids().map(BetId),
        player_id=ids.map(PlayerId),
        event_id=ids.map(EventId),
        settlement_id=amounts,
        kind=st.sampled_from(SettlementKind),
        status=st.sampled_from(BetStatus),
        result=st.none() | st.sampled_from(BetResult),
        payout_minor=st.none() | amounts,
        decided_at=instants,
    ),
    st.builds(MarketDecided, event_id=ids.map(EventId), settlement=settlements),
    st.builds(
        CarriedOver,
        player_id=ids.map(PlayerId),
        part=numbers,
        wallet=st.none() | st.builds(FoldedWallet, st.builds(Wallet, amounts, amounts), ids, amounts),
        bet=st.none() | bets,
        moves=st.lists(moves, max_size=3).map(tuple),
        transfers=st.lists(transfers, max_size=3).map(tuple),
    ),
)


@given(bodies)
def test_a_fact_reads_back_as_it_was_written(body: Body) -> None:
    assert body_from_wire(kind_of(body), body_to_wire(body)) == body


facts = st.builds(
    Fact, shard=numbers, seq=amounts, epoch=amounts, fact_id=st.uuids(), recorded_at=instants, body=bodies
)


@given(facts)
def test_a_whole_fact_reads_back_as_it_was_written(fact: Fact) -> None:
    assert fact_from_wire(fact_to_wire(fact)) == fact


def test_each_kind_has_a_body_of_its_own() -> None:
    bodies = (AccountOpened, FundsMoved, BetAccepted, BetDecided, MarketDecided, CarriedOver)
    assert {kind_of(body): type(body) for body in EACH} == dict(zip(FactKind, bodies, strict=True))


EACH: list[Body] = [
    AccountOpened(player_id=ALICE, currency="EUR", opened_at=NOON),
    FundsMoved(
        move_id=UUID(int=2),
        player_id=ALICE,
        kind=TransferKind.DEPOSIT,
        amount_minor=5,
        currency="EUR",
        balance_minor=5,
        idempotency_key="k",
        recorded_at=NOON,
    ),
    BetAccepted(bet=bet()),
    BetDecided(
        bet_id=bet().bet_id,
        player_id=ALICE,
        event_id=EVENT,
        settlement_id=3,
        kind=SettlementKind.SETTLE,
        status=BetStatus.SETTLED,
        result=BetResult.WON,
        payout_minor=2_500,
        decided_at=NOON,
    ),
    MarketDecided(
        event_id=EVENT,
        settlement=Settlement(
            settlement_id=3, market_id=MarketId("m"), kind=SettlementKind.VOID, results={}, requested_at=NOON
        ),
    ),
    CarriedOver(
        player_id=ALICE,
        part=1,
        wallet=FoldedWallet(Wallet(5, 0), "EUR", 2),
        transfers=(
            Transfer(
                TransferId(UUID(int=3)), TransferKind.DEPOSIT, "cashier", "wallet:alice", 5, "EUR", None, NOON
            ),
        ),
    ),
]
# Written by the first release that kept facts: these bytes are read for ever.
KEPT = {
    FactKind.ACCOUNT_OPENED: b'{"v":1,"player_id":"alice","currency":"EUR","opened_at":"2026-03-01T12:00:00Z"}',
    FactKind.FUNDS_MOVED: b'{"v":1,"move_id":"00000000-0000-0000-0000-000000000002","player_id":"alice",'
    b'"kind":"deposit","amount_minor":5,"currency":"EUR","balance_minor":5,"idempotency_key":"k",'
    b'"recorded_at":"2026-03-01T12:00:00Z"}',
    FactKind.BET_ACCEPTED: b'{"v":1,"bet_id":"00000000-0000-0000-0000-000000000001","player_id":"alice",'
    b'"event_id":"match-1","market_id":"match-1:1x2","selection_id":"home","odds_milli":2500,"odds_version":7,'
    b'"stake_minor":1000,"currency":"EUR","placed_at":"2026-03-01T12:00:00Z","requested_odds_milli":2500,'
    b'"requested_odds_version":7,"idempotency_key":"k1","requested_accept":"none"}',
    FactKind.BET_DECIDED: b'{"v":1,"bet_id":"00000000-0000-0000-0000-000000000001","player_id":"alice",'
    b'"event_id":"match-1","settlement_id":3,"kind":"settle","status":"SETTLED",'
    b'"decided_at":"2026-03-01T12:00:00Z","result":"won","payout_minor":2500}',
    FactKind.MARKET_DECIDED: b'{"v":1,"event_id":"match-1","settlement_id":3,"market_id":"m","kind":"void",'
    b'"results":{},"requested_at":"2026-03-01T12:00:00Z"}',
    FactKind.CARRIED_OVER: b'{"v":1,"player_id":"alice","part":1,"wallet":{"balance_minor":5,"debt_minor":0,'
    b'"currency":"EUR","version":2},"transfers":[{"transfer_id":"00000000-0000-0000-0000-000000000003",'
    b'"kind":"deposit","debit":"cashier","credit":"wallet:alice","amount_minor":5,"currency":"EUR",'
    b'"recorded_at":"2026-03-01T12:00:00Z"}]}',
}


TWICE_VOID = b'{"a":{"result":"won","void_factor":"2"}}'


@pytest.mark.parametrize("body", EACH, ids=kind_of)
def test_what_the_first_release_wrote_is_what_is_written_and_read_now(body: Body) -> None:
    kind = kind_of(body)
    assert body_to_wire(body) == KEPT[kind]
    assert body_from_wire(kind, KEPT[kind]) == body


@pytest.mark.parametrize("kind", FactKind)
@pytest.mark.parametrize("version", [b"2", b"0", b"null", b'"1"'])
def test_another_version_is_a_fault(kind: FactKind, version: bytes) -> None:
    with pytest.raises(Fault):
        body_from_wire(kind, KEPT[kind].replace(b'"v":1', b'"v":' + version))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("BetForgotten", b'{"v":1}'),
        ("BetAccepted", b'{"v":1}'),
        ("BetAccepted", b"no JSON"),
        ("BetAccepted", b"\xff"),
        ("MarketDecided", KEPT[FactKind.MARKET_DECIDED].replace(b"{}", TWICE_VOID)),
    ],
)
def test_what_is_no_such_fact_is_a_fault(kind: str, body: bytes) -> None:
    with pytest.raises(Fault):
        body_from_wire(kind, body)
    with pytest.raises(Fault):
        fact_from_wire(body)


def test_a_facts_id_is_its_causes() -> None:
    assert len({id_of(body) for body in EACH}) == len(EACH)
    assert [id_of(body) for body in EACH] == [id_of(body) for body in EACH]
    again = dataclasses.replace(EACH[3], settlement_id=4)  # type: ignore[arg-type,call-arg]  # it is the bet's
    assert id_of(again) != id_of(EACH[3])
