"""What feeds and traders do to markets."""

from itertools import groupby
from typing import Final

from touchline.core.errors import Code
from touchline.core.ids import MarketId
from touchline.core.market import MarketStep
from touchline.core.money import format_minor
from touchline.edge.http.operations import FEEDS, TRADERS, Call, Operation, Reply
from touchline.edge.http.platform import Platform
from touchline.wire.feed_v1 import FeedAnswerV1, MessageV1, decode_messages, results_from_wire
from touchline.wire.odds_v1 import MarketV1, market_to_wire
from touchline.wire.trading_v1 import (
    LiabilityV1,
    MarketLiabilityV1,
    ProgressV1,
    SelectionLiabilityV1,
    SettleV1,
    settlement_to_wire,
)

FEED_BYTES_MAX: Final = 1024 * 1024


async def _feed(platform: Platform, call: Call) -> Reply:
    applied, ignored = await platform.feed.apply_all(decode_messages(call.body))
    return Reply(FeedAnswerV1(applied, ignored))


async def _suspend(platform: Platform, call: Call) -> Reply:
    return Reply(market_to_wire(await platform.trading.step(_market_id(call), MarketStep.SUSPEND)))


async def _resume(platform: Platform, call: Call) -> Reply:
    return Reply(market_to_wire(await platform.trading.step(_market_id(call), MarketStep.RESUME)))


async def _settle(platform: Platform, call: Call) -> Reply:
    await platform.trading.settle(_market_id(call), results_from_wire(call.body.results))
    return await _progress(platform, call)


async def _void(platform: Platform, call: Call) -> Reply:
    await platform.trading.void(_market_id(call))
    return await _progress(platform, call)


async def _roll_back(platform: Platform, call: Call) -> Reply:
    await platform.trading.roll_back(_market_id(call))
    return await _progress(platform, call)


async def _progress(platform: Platform, call: Call) -> Reply:
    market, settlements = await platform.trading.progress(_market_id(call))
    return Reply(ProgressV1(market.market_id, market.status, [settlement_to_wire(s) for s in settlements]))


async def _liability(platform: Platform, _call: Call) -> Reply:
    markets = []
    for market_id, exposures in groupby(await platform.bets.exposures(), lambda exposure: exposure.market_id):
        market = await platform.markets.get(market_id)
        if market is None:
            continue
        names = {selection.selection_id: selection.name for selection in market.selections}
        selections = [
            SelectionLiabilityV1(
                selection_id=exposure.selection_id,
                name=names.get(exposure.selection_id, exposure.selection_id),
                bets=exposure.bets,
                stakes=format_minor(exposure.stakes_minor, platform.currency),
                liability=format_minor(exposure.liability_minor, platform.currency),
            )
            for exposure in exposures
        ]
        markets.append(
            MarketLiabilityV1(market.market_id, market.event_id, market.name, market.status, selections)
        )
    return Reply(LiabilityV1(platform.currency, markets))


def _market_id(call: Call) -> MarketId:
    return MarketId(call.path["market_id"])


DECISION_REFUSALS: Final = (Code.MARKET_NOT_FOUND, Code.MARKET_CLOSED)
OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/feed/messages",
        summary="Feed messages, a JSON array or NDJSON; each is applied once",
        handle=_feed,
        roles=FEEDS,
        body=bytes,
        body_shape=list[MessageV1],
        body_types=("application/json", "application/x-ndjson", "application/ndjson"),
        body_bytes_max=FEED_BYTES_MAX,
        answer=FeedAnswerV1,
    ),
    Operation(
        method="POST",
        path="/trading/markets/{market_id}/suspend",
        summary="Refuse bets on a market",
        handle=_suspend,
        roles=TRADERS,
        answer=MarketV1,
        refusals=DECISION_REFUSALS,
    ),
    Operation(
        method="POST",
        path="/trading/markets/{market_id}/resume",
        summary="Take bets on a market again",
        handle=_resume,
        roles=TRADERS,
        answer=MarketV1,
        refusals=DECISION_REFUSALS,
    ),
    Operation(
        method="POST",
        path="/trading/markets/{market_id}/settle",
        summary="Settle a market by its selections' results",
        handle=_settle,
        roles=TRADERS,
        body=SettleV1,
        answer=ProgressV1,
        refusals=(*DECISION_REFUSALS, Code.SELECTION_NOT_FOUND),
    ),
    Operation(
        method="POST",
        path="/trading/markets/{market_id}/void",
        summary="Void a market: every stake goes back",
        handle=_void,
        roles=TRADERS,
        answer=ProgressV1,
        refusals=DECISION_REFUSALS,
    ),
    Operation(
        method="POST",
        path="/trading/markets/{market_id}/rollback",
        summary="Take back what decided a market last",
        handle=_roll_back,
        roles=TRADERS,
        answer=ProgressV1,
        refusals=DECISION_REFUSALS,
    ),
    Operation(
        method="GET",
        path="/trading/markets/{market_id}/settlement",
        summary="How far a market's settlement is",
        handle=_progress,
        roles=TRADERS,
        answer=ProgressV1,
        refusals=(Code.MARKET_NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/trading/liability",
        summary="What the book loses by selection, open bets only",
        handle=_liability,
        roles=TRADERS,
        answer=LiabilityV1,
    ),
)
