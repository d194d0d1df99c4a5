"""What bettors ask: events, prices, bets."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import UNSET

from touchline.core.bet import BetStatus
from touchline.core.errors import Code, Rejection
from touchline.core.event import EventStatus
from touchline.core.ids import BetId, EventId, MarketId, check_key
from touchline.edge.http.operations import PLAYERS, Call, Operation, Reply
from touchline.edge.http.paging import QUERY, cursor_after, read_page
from touchline.edge.http.platform import Platform
from touchline.wire.bets_v1 import BetsV1, BetV1, PlaceBetV1, bet_to_wire, place_bet_from_wire
from touchline.wire.odds_v1 import (
    ChangesV1,
    EventsV1,
    EventV1,
    MarketV1,
    PolledMarketV1,
    event_to_wire,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = timedelta(seconds=1)
REVALIDATED: Final = b"private, no-cache"  # whoever keeps an answer asks before he uses it again
REPLAYED: Final = ((b"idempotent-replay", b"true"),)
BET_REFUSALS: Final = (
    Code.RATE_LIMITED,
    Code.IDEMPOTENCY_CONFLICT,
    Code.SELF_EXCLUDED,
    Code.ACCOUNT_LOCKED,
    Code.JURISDICTION_REFUSED,
    Code.MARKET_NOT_FOUND,
    Code.SELECTION_NOT_FOUND,
    Code.MARKET_CLOSED,
    Code.MARKET_SUSPENDED,
    Code.BET_EXPIRED,
    Code.ODDS_CHANGED,
    Code.STAKE_OUT_OF_RANGE,
    Code.LIMIT_EXCEEDED,
    Code.EXPOSURE_EXCEEDED,
    Code.INSUFFICIENT_BALANCE,
)


async def _events(platform: Platform, call: Call) -> Reply:
    status = call.query.get("status")
    if status is not None and status not in list(EventStatus):
        raise Rejection(Code.MALFORMED, f"status must be {' or '.join(EventStatus)}", field="status")
    return Reply(await platform.odds.shown_events(status))


async def _event(platform: Platform, call: Call) -> Reply:
    return Reply(event_to_wire(*await platform.odds.event(EventId(call.path["event_id"]))))


def _poll_at_once(platform: Platform, market_id: str) -> bytes | None:
    return None if platform.odds_etag else platform.odds.shown(MarketId(market_id))


async def _poll(platform: Platform, call: Call) -> Reply:
    market = await platform.odds.poll(MarketId(call.path["market_id"]))
    if market.stale_since is not UNSET:  # never 304: whoever asks shall hear of it
        return Reply(market, headers=((b"age", _age(platform, market.stale_since)),))
    if not platform.odds_etag:
        return Reply(market)
    tag = _etag(market)
    headers = ((b"etag", tag.encode()),)
    if _names(call.if_none_match, tag.removeprefix("W/")):
        return Reply(None, 304, headers=headers, cache_control=REVALIDATED)
    return Reply(market, headers=headers, cache_control=REVALIDATED)


def _age(platform: Platform, since: datetime) -> bytes:
    """Return the whole seconds for which an answer has been old, as RFC 9111 has it (5.1)."""
    return str(max(0, (platform.clock.now() - since) // SECOND)).encode()


def _etag(market: PolledMarketV1) -> str:
    """Return the market's version with the instant of its last change, so that no other books' version matches.

    It is weak: the same market may be written with its fields in another order.
    """
    return f'W/"{market.odds_version}-{(market.updated_at - EPOCH) // MICROSECOND:x}"'


def _names(if_none_match: str, tag: str) -> bool:
    """Tell whether `if_none_match` names `tag`, by RFC 9110's weak comparison (13.1.2)."""
    named = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return not named.isdisjoint((tag, "*"))


async def _changes(platform: Platform, call: Call) -> Reply:
    return Reply(await platform.odds.shown_changes(call.query.get("since") or None))


async def _place(platform: Platform, call: Call) -> Reply:
    bet_id = BetId(platform.chance.uuid())
    request = place_bet_from_wire(call.body, call.caller.player_id, bet_id, platform.currency)
    if platform.keys_required and request.idempotency_key is None:
        raise Rejection(Code.MALFORMED, "a bet needs a key of its own here", field="idempotency_key")
    answer = await platform.placing.place(request)
    if isinstance(answer, Rejection):
        raise answer
    if answer.balance is not None:
        platform.meters.bets_placed += 1
    return Reply(bet_to_wire(answer.bet), 201, headers=REPLAYED if answer.balance is None else ())


async def _bets(platform: Platform, call: Call) -> Reply:
    limit, before = read_page(call.query)
    status = call.query.get("status")
    if status is not None and status not in list(BetStatus):
        raise Rejection(Code.MALFORMED, f"status must be {' or '.join(BetStatus)}", field="status")
    wanted = None if status is None else BetStatus(status)
    bets = await platform.bets.page(call.caller.player_id, wanted, before, limit)
    cursor = cursor_after(bets[-1].placed_at, bets[-1].bet_id) if len(bets) == limit else None
    return Reply(BetsV1([bet_to_wire(bet) for bet in bets], cursor))


async def _bet(platform: Platform, call: Call) -> Reply:
    try:
        bet_id = BetId(UUID(call.path["bet_id"]))
    except ValueError:
        raise Rejection(Code.MALFORMED, "bet_id must be a UUID", field="bet_id") from None
    bet = await platform.bets.get(call.caller.player_id, bet_id)
    if bet is None:
        raise Rejection(Code.NOT_FOUND, "you have no such bet")
    return Reply(bet_to_wire(bet))


async def _bet_by_key(platform: Platform, call: Call) -> Reply:
    key = check_key("key", call.path["key"])
    bet = await platform.bets.by_key(call.caller.player_id, key)
    if bet is None:
        raise Rejection(Code.NOT_FOUND, "no bet of yours was placed under this key")
    return Reply(bet_to_wire(bet))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/odds/{market_id}",
        summary="One market's prices as they stand",
        handle=_poll,
        at_once=_poll_at_once,
        answer=MarketV1,
        unchanged=True,
        refusals=(Code.MARKET_NOT_FOUND,),
    ),
    Operation(
        method="POST",
        path="/bets",
        summary="Place a bet at odds seen at a version",
        handle=_place,
        roles=PLAYERS,
        body=PlaceBetV1,
        answer=BetV1,
        status=201,
        refusals=BET_REFUSALS,
    ),
    Operation(
        method="GET",
        path="/events",
        summary="Events with their markets",
        handle=_events,
        query={"status": "scheduled, live or ended; all where left out"},
        answer=EventsV1,
    ),
    Operation(
        method="GET",
        path="/events/{event_id}",
        summary="One event with its markets",
        handle=_event,
        answer=EventV1,
        refusals=(Code.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/odds",
        summary="Markets changed since a cursor; without one, all that can be bet on",
        handle=_changes,
        query={"since": "the `cursor` of the answer before"},
        answer=ChangesV1,
    ),
    Operation(
        method="GET",
        path="/bets",
        summary="Your bets, newest first",
        handle=_bets,
        roles=PLAYERS,
        query={"status": "PLACED, WON, LOST, SETTLED or VOID; all where left out", **QUERY},
        answer=BetsV1,
    ),
    Operation(
        method="GET",
        path="/bets/by-key/{key}",
        summary="The bet you placed under an idempotency key",
        handle=_bet_by_key,
        roles=PLAYERS,
        answer=BetV1,
        refusals=(Code.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/bets/{bet_id}",
        summary="One bet of yours",
        handle=_bet,
        roles=PLAYERS,
        answer=BetV1,
        refusals=(Code.NOT_FOUND,),
    ),
)
