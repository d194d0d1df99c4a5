"""Pods and writers: what goes out comes back the same, however it is cut on the way, and garbage is no request."""

from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.test_wire import ids, instants, outcomes, prices
from tests.samples import bet, place_bet, settlement
from touchline.core.account import Role
from touchline.core.bet import Accept, Bet, BetResult, BetStatus, PlaceBet
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.money import AMOUNT_MINOR_MAX
from touchline.core.settlement import Settlement, SettlementKind
from touchline.wire import shards_v1 as wire
from touchline.wire.frames import FRAME_BYTES_MAX, Splitter, put
from touchline.wire.hello_v1 import ChallengeV1, hello_key, pod_signature, writer_signature

A, B = b"a" * 16, b"b" * 16
counts = st.integers(0, 2**63 - 1)
amounts = st.integers(1, AMOUNT_MINOR_MAX)
keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)
plays: dict[str, Any] = {
    "bet_id": st.uuids().map(BetId),
    "player_id": ids.map(PlayerId),
    "market_id": ids.map(MarketId),
    "selection_id": ids.map(SelectionId),
    "odds_milli": prices,
    "odds_version": counts,
    "stake_minor": amounts,
    "idempotency_key": st.none() | keys,
}
requests = st.builds(PlaceBet, **plays, accept=st.sampled_from(Accept), valid_until=st.none() | instants)
bets = st.builds(
    Bet,
    **plays,
    event_id=ids.map(EventId),
    currency=st.sampled_from(["EUR", "JPY"]),
    status=st.sampled_from(BetStatus),
    placed_at=instants,
    requested_odds_milli=prices,
    requested_odds_version=counts,
    requested_accept=st.none() | st.sampled_from(Accept),
    requested_valid_until=st.none() | instants,
    result=st.none() | st.sampled_from(BetResult),
    payout_minor=st.none() | counts,
    settled_at=st.none() | instants,
    settlement_id=st.none() | counts,
)
money: dict[str, Any] = {
    "move_id": st.uuids(),
    "player_id": ids.map(PlayerId),
    "kind": st.sampled_from([TransferKind.DEPOSIT, TransferKind.WITHDRAWAL]),
    "amount_minor": amounts,
    "idempotency_key": keys,
}
moves = st.builds(MoveFunds, **money)
moved = st.builds(FundsMoved, **money, currency=st.just("EUR"), balance_minor=counts, recorded_at=instants)
balances = st.builds(wire.BalanceAtV1, counts, st.just("EUR"), counts)
settlements = st.builds(
    Settlement,
    settlement_id=counts,
    market_id=ids.map(MarketId),
    kind=st.sampled_from(SettlementKind),
    results=st.dictionaries(ids.map(SelectionId), outcomes, max_size=4),
    requested_at=instants,
    undoes=st.none() | counts,
    placed_from=st.none() | instants,
    placed_until=st.none() | instants,
    bets_total=counts,
    bets_done=counts,
    finished_at=st.none() | instants,
)
extras = st.dictionaries(
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=9, max_size=12),
    st.none() | st.integers(-(2**63), 2**63) | st.text() | instants | st.lists(st.text(), max_size=3),
    max_size=4,
)


def sent(call: wire.CallV1) -> Any:
    """A call as the writer reads it."""
    return wire.decode_request(framed(wire.RequestV1(7, call))).call


def answered(answer: wire.AnswerV1) -> Any:
    """An answer as the pod reads it."""
    return wire.decode_reply(framed(wire.ReplyV1(7, answer))).answer


def framed(message: object) -> bytes:
    out = bytearray(b"before")
    put(out, message)
    [body] = Splitter().feed(bytes(out[len(b"before") :]))
    return body


@given(requests, moves, settlements)
def test_requests_come_back_the_same(request: PlaceBet, move: MoveFunds, settlement: Settlement) -> None:
    assert wire.place_from_wire(sent(wire.place_to_wire(request))) == request
    assert wire.move_from_wire(sent(wire.move_to_wire(move))) == move
    call = sent(wire.WorkV1(3, wire.settlement_to_wire(settlement), settlement.requested_at, 50))
    assert (call.shard, call.at, call.limit) == (3, settlement.requested_at, 50)
    assert wire.settlement_from_wire(call.settlement) == settlement
    assert wire.settlement_from_wire(sent(wire.ToWorkV1(3, call.settlement)).settlement) == settlement


@given(ids.map(PlayerId), st.sampled_from(Role), st.text(), st.none() | instants, instants)
def test_an_account_comes_back_the_same(
    player_id: PlayerId, role: Role, password_hash: str, locked_until: datetime | None, at: datetime
) -> None:
    call = wire.RegisterV1(player_id, role, password_hash, locked_until, "ann", "EUR", at)
    assert sent(call) == call


@given(bets, moved, balances, st.booleans())
def test_answers_come_back_the_same(
    record: Bet, funds: FundsMoved, balance: wire.BalanceAtV1, is_retry: bool
) -> None:
    shown = None if is_retry else balance
    placed = answered(wire.PlacedV1(wire.bet_to_wire(record), shown))
    assert (wire.bet_from_wire(placed.bet), placed.balance) == (record, shown)
    answer = answered(wire.moved_to_wire(funds, shown))
    assert (wire.moved_from_wire(answer), answer.balance) == (funds, shown)
    worked = wire.WorkedV1(2, {record.player_id: balance})
    assert answered(worked) == worked
    for other in (wire.RegisteredV1(is_retry), wire.CountedV1(balance.version), wire.BrokenV1(), wire.PongV1()):
        assert answered(other) == other


@given(st.sampled_from(Code), st.text(), extras, st.booleans())
def test_a_refusal_comes_back_with_all_that_it_carries(
    code: Code, detail: str, extra: dict[str, object], raised: bool
) -> None:
    answer = answered(wire.rejection_to_wire(Rejection(code, detail, **extra), raised=raised))
    back = wire.rejection_from_wire(answer)
    assert (back.code, back.detail, back.extra, answer.raised) == (code, detail, extra, raised)


def test_what_json_would_say_of_a_refusal_is_what_comes_back() -> None:
    extra: dict[str, object] = {"id": bet().bet_id, "status": BetStatus.WON}
    refusal = wire.rejection_to_wire(Rejection(Code.FORBIDDEN, "", **extra), raised=True)
    back = wire.rejection_from_wire(answered(refusal))
    assert msgspec.json.encode(back.extra) == msgspec.json.encode(extra)


def test_an_outage_comes_back_with_its_time() -> None:
    back = wire.outage_from_wire(answered(wire.outage_to_wire(Outage("PostgreSQL", 7))))
    assert (back.dependency, back.retry_after_s) == ("PostgreSQL", 7)


@pytest.mark.parametrize("factor", ["", "x", "1/0", "2", "-1/2"])
def test_a_factor_that_is_none_is_refused(factor: str) -> None:
    outcome = (BetResult.WON, factor, "1")
    call = msgspec.structs.replace(
        wire.settlement_to_wire(settlement(SettlementKind.SETTLE)), results={SelectionId("home"): outcome}
    )
    with pytest.raises(Rejection):
        wire.settlement_from_wire(call)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=12), st.randoms(use_true_random=False))
def test_frames_are_the_same_however_they_are_cut(bodies: list[bytes], random: Any) -> None:
    sent_bytes = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    splitter, seen = Splitter(300), list[bytes]()
    while sent_bytes:
        length = random.randint(1, 350)
        seen += splitter.feed(sent_bytes[:length])
        sent_bytes = sent_bytes[length:]
    assert seen == bodies


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_raises_nothing_else(garbage: bytes) -> None:
    for decode in (wire.decode_request, wire.decode_reply):
        with suppress(ValueError):
            decode(garbage)
    with suppress(Rejection):
        Splitter(64).feed(garbage)


@pytest.mark.parametrize("length", [0, 65, 2**32 - 1])
def test_a_frame_of_no_bytes_or_too_many_is_refused_by_its_head_alone(length: int) -> None:
    with pytest.raises(Rejection):
        Splitter(64).feed(length.to_bytes(4, "big"))


def test_what_fits_no_frame_is_not_begun_to_be_sent() -> None:
    out = bytearray()
    put(out, wire.RequestV1(1, wire.place_to_wire(place_bet())))
    before = bytes(out)
    with pytest.raises(Fault):
        put(out, b"x" * (FRAME_BYTES_MAX + 1))
    assert out == before


def test_the_balances_of_the_most_work_at_once_fit_a_frame() -> None:
    balance = wire.BalanceAtV1(2**63 - 1, "EUR", 2**63 - 1)
    balances = {PlayerId(f"{n:0128}"): balance for n in range(wire.WORK_BETS_MAX)}
    out = bytearray()
    put(out, wire.ReplyV1(2**63, wire.WorkedV1(wire.WORK_BETS_MAX, balances)))
    assert len(out) < FRAME_BYTES_MAX


def test_a_proof_is_good_for_one_side_one_shard_and_one_pair_of_nonces() -> None:
    key = hello_key("s" * 40)
    challenges = [ChallengeV1(*said) for said in ((1, 2, A), (2, 2, A), (1, 3, A), (1, 2, B))]
    signatures = [
        sign(key_of, said, nonce)
        for sign in (pod_signature, writer_signature)
        for key_of in (key, hello_key("t" * 40))
        for said in challenges
        for nonce in (A, B)
    ]
    assert len(set(signatures)) == len(signatures) == 32
