"""What goes over `GET /stream` and `GET /stream/sse`, message by message.

Invariant: nothing that a client sends is taken beyond the bounds below, and what he may not send is refused with a
code; a cursor with its epoch is the one that `GET /odds?since=` takes, `{epoch}-{cursor}`.
"""

import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from touchline.core.bet import Bet
from touchline.core.delivery import MarketChanged
from touchline.core.errors import Code, Rejection
from touchline.core.ids import EventId, MarketId, check_id
from touchline.core.outbox import Parcel
from touchline.wire.bets_v1 import BetV1, bet_to_wire

MESSAGE_BYTES_MAX: Final = 65_536  # that a client sends at once
SUBSCRIPTION_ID_LENGTH_MAX: Final = 64
SUBSCRIPTIONS_MAX: Final = 16  # of one connection
MARKETS_MAX: Final = 200  # named by one subscription
EVENTS_MAX: Final = 100  # named by one subscription
NAMED_MAX: Final = 600  # markets and events named by one connection
CONFLATE_MS_MIN: Final = 50
CONFLATE_MS_MAX: Final = 60_000
HEARTBEAT_MS_MIN: Final = 500
HEARTBEAT_MS_MAX: Final = 60_000
HEARTBEAT_MS: Final = 5_000
TOKEN_LENGTH_MAX: Final = 1_024
CURSOR_MAX: Final = 2**63 - 1
UNKNOWN_TOLD_MAX: Final = MARKETS_MAX
_CURSOR: Final = re.compile(r"([0-9A-Za-z]{1,64})-([0-9]{1,19})")

SubscriptionId = (
    Annotated[str, msgspec.Meta(min_length=1, max_length=SUBSCRIPTION_ID_LENGTH_MAX)]
    | Annotated[int, msgspec.Meta(ge=0, le=2**53)]
)


class ResumeV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a subscriber goes on: the last cursor that he was told, and its epoch."""

    epoch: Annotated[str, msgspec.Meta(max_length=64)]
    cursor: Annotated[int, msgspec.Meta(ge=0, le=CURSOR_MAX)]


class AskedResumeV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `ResumeV1` as clients write it: what `GET /odds?since=` tells, both in a word, may stand as its cursor."""

    cursor: Annotated[int, msgspec.Meta(ge=0, le=CURSOR_MAX)] | Annotated[str, msgspec.Meta(max_length=84)]
    epoch: Annotated[str, msgspec.Meta(max_length=64)] = ""


class SubscribeV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="subscribe"):
    """A wish for some markets, for all of some events, or for the player's own bets.

    `conflate_ms` (0: none) and `heartbeat_ms` hold for the whole connection; those given last count.
    """

    id: SubscriptionId
    markets: Annotated[list[str], msgspec.Meta(max_length=MARKETS_MAX)] = []
    events: Annotated[list[str], msgspec.Meta(max_length=EVENTS_MAX)] = []
    resume: AskedResumeV1 | str | None = None
    conflate_ms: int | None = None
    heartbeat_ms: int | None = None
    bets: bool = False
    token: Annotated[str, msgspec.Meta(max_length=TOKEN_LENGTH_MAX)] | None = None


class UnsubscribeV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="unsubscribe"):
    """The end of a wish."""

    id: SubscriptionId


class ImageV1(msgspec.Struct, frozen=True, tag_field="op", tag="image"):
    """All that a subscription is for, as it stands. `resumed` is False where it stands for a resume that can't be.

    `unknown` names the markets that there are not (yet); they are pushed once there are.
    """

    id: SubscriptionId
    epoch: str
    cursor: int
    markets: list[msgspec.Raw]
    resumed: bool | msgspec.UnsetType = msgspec.UNSET
    unknown: Sequence[MarketId] | msgspec.UnsetType = msgspec.UNSET
    stale_since: datetime | msgspec.UnsetType = msgspec.UNSET


class ResumedV1(msgspec.Struct, frozen=True, tag_field="op", tag="change"):
    """The answer to a resume that can be served: the latest of each market that changed meanwhile."""

    id: SubscriptionId
    epoch: str
    cursor: int
    markets: list[msgspec.Raw]
    resumed: bool = True
    stale_since: datetime | msgspec.UnsetType = msgspec.UNSET


class ChangeV1(msgspec.Struct, frozen=True, tag_field="op", tag="change"):
    """Markets as they changed; with it all up to `cursor` has been sent. `conflated` says why some was not."""

    cursor: int
    markets: list[msgspec.Raw]
    conflated: str | msgspec.UnsetType = msgspec.UNSET


class HeartbeatV1(msgspec.Struct, frozen=True, tag_field="op", tag="heartbeat"):
    """Nothing changed up to `cursor`, at the instant `at`; with `stale_since`: nobody knows, since then."""

    cursor: int
    at: datetime
    stale_since: datetime | msgspec.UnsetType = msgspec.UNSET


class OwnBetV1(BetV1, frozen=True, tag_field="op", tag="bet"):
    """A bet of the player's, as it stands now that something became of it."""


class ErrorV1(msgspec.Struct, frozen=True, tag_field="op", tag="error"):
    """What is refused, or has ended: of a subscription where `id` names one."""

    code: Code
    detail: str
    id: Any = msgspec.UNSET
    field: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_s: int | msgspec.UnsetType = msgspec.UNSET


ServerMessage = ImageV1 | ResumedV1 | ChangeV1 | HeartbeatV1 | OwnBetV1 | ErrorV1
Op = Literal["image", "change", "heartbeat", "bet", "error"]


class _Named(msgspec.Struct):
    id: SubscriptionId | msgspec.UnsetType = msgspec.UNSET


def read_request(text: str) -> SubscribeV1 | UnsubscribeV1:
    """Return what a client asks for, every field within its bounds.

    Raises:
        Rejection: MALFORMED, naming the field and the subscription where they can be told.
    """
    try:
        request: SubscribeV1 | UnsubscribeV1 = _decode_request(text)
        if isinstance(request, SubscribeV1):
            check_subscription(request)
    except msgspec.ValidationError as wrong:
        what, _, where = str(wrong).partition(" - at `$.")
        named: dict[str, object] = {"field": where.rstrip("`")} if where else {}
        raise Rejection(Code.MALFORMED, what, **named, **_id_in(text)) from None
    except msgspec.DecodeError as wrong:
        raise Rejection(Code.MALFORMED, f"the message is no JSON: {wrong}") from None
    except RecursionError:
        raise Rejection(Code.MALFORMED, "the message is nested too deeply") from None
    except Rejection as refused:
        raise Rejection(refused.code, refused.detail, **refused.extra, **_id_in(text)) from None
    return request


def check_subscription(request: SubscribeV1) -> None:
    """See that a subscription keeps the rules that its types can't say.

    Raises:
        Rejection: MALFORMED, naming the field.
    """
    for market_id in request.markets:
        check_id("markets", market_id)
    for event_id in request.events:
        check_id("events", event_id)
    if not (request.markets or request.events or request.bets):
        raise Rejection(Code.MALFORMED, "name markets or events, or ask for bets", field="markets")
    if request.conflate_ms:
        _check_ms("conflate_ms", request.conflate_ms, CONFLATE_MS_MIN, CONFLATE_MS_MAX)
    if request.heartbeat_ms is not None:
        _check_ms("heartbeat_ms", request.heartbeat_ms, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX)
    resume_of(request)


def resume_of(request: SubscribeV1) -> ResumeV1 | None:
    """Return where a subscriber wants to go on, however he wrote it."""
    resume = request.resume
    if resume is None or isinstance(resume, str):
        return None if resume is None else parse_cursor("resume", resume)
    cursor = str(resume.cursor)
    return parse_cursor("resume", cursor if "-" in cursor else f"{resume.epoch}-{cursor}")


def format_cursor(epoch: str, cursor: int) -> str:
    """Return a cursor in one word."""
    return f"{epoch}-{cursor}"


def parse_cursor(field: str, text: str) -> ResumeV1:
    """Return the parts of a cursor in one word.

    Raises:
        Rejection: MALFORMED, naming `field`: no cursor of ours.
    """
    match = _CURSOR.fullmatch(text)
    if match is None or int(match[2]) > CURSOR_MAX:
        raise Rejection(Code.MALFORMED, f"{field} is no cursor of ours", field=field)
    return ResumeV1(match[1], int(match[2]))


def image_to_wire(
    request_id: SubscriptionId,
    epoch: str,
    cursor: int,
    markets: Sequence[MarketChanged],
    *,
    unknown: Sequence[MarketId] = (),
    refused_resume: bool = False,
    stale_since: datetime | None = None,
) -> ImageV1:
    """Return an image of `markets`."""
    return ImageV1(
        id=request_id,
        epoch=epoch,
        cursor=cursor,
        markets=_bodies(markets),
        resumed=False if refused_resume else msgspec.UNSET,
        unknown=unknown[:UNKNOWN_TOLD_MAX] or msgspec.UNSET,
        stale_since=stale_since or msgspec.UNSET,
    )


def resumed_to_wire(
    request_id: SubscriptionId,
    epoch: str,
    cursor: int,
    markets: Sequence[MarketChanged],
    *,
    stale_since: datetime | None = None,
) -> ResumedV1:
    """Return what a subscriber missed."""
    return ResumedV1(request_id, epoch, cursor, _bodies(markets), stale_since=stale_since or msgspec.UNSET)


def parcel_to_wire(parcel: Parcel) -> ChangeV1:
    """Return a parcel as it goes out."""
    conflated = msgspec.UNSET if parcel.conflated is None else parcel.conflated.value
    return ChangeV1(parcel.cursor, _bodies(parcel.changes), conflated)


def heartbeat_to_wire(cursor: int, at: datetime, stale_since: datetime | None) -> HeartbeatV1:
    """Return a heartbeat as it goes out."""
    return HeartbeatV1(cursor, at, stale_since or msgspec.UNSET)


def own_bet_to_wire(bet: Bet) -> OwnBetV1:
    """Return a bet as it is pushed to its owner."""
    return OwnBetV1(**msgspec.structs.asdict(bet_to_wire(bet)))


def refusal_to_wire(refused: Rejection) -> ErrorV1:
    """Return a refusal as it goes out."""
    known = {name: value for name, value in refused.extra.items() if name in ("id", "field", "retry_after_s")}
    return ErrorV1(refused.code, refused.detail, **known)  # type: ignore[arg-type]  # each is of its field's type


def interest_of(request: SubscribeV1) -> tuple[frozenset[MarketId], frozenset[EventId]]:
    """Return the markets and events that a subscription names, each once."""
    # Interned: thousands of connections that name the same hold their words once.
    markets, events = map(sys.intern, request.markets), map(sys.intern, request.events)
    return frozenset(map(MarketId, markets)), frozenset(map(EventId, events))


def _bodies(markets: Sequence[MarketChanged]) -> list[msgspec.Raw]:
    return [msgspec.Raw(market.body) for market in markets]


def _check_ms(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Rejection(Code.MALFORMED, f"{field} must be {least} to {most}", field=field)


def _id_in(text: str) -> dict[str, object]:
    """Return the subscription's id where a message that can't be taken has one."""
    try:
        named = _decode_named(text).id
    except (msgspec.DecodeError, RecursionError):
        return {}
    return {} if named is msgspec.UNSET else {"id": named}


_decode_request: Final = msgspec.json.Decoder(SubscribeV1 | UnsubscribeV1).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode
encode: Final = msgspec.json.Encoder().encode
