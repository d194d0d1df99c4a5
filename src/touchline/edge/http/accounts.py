"""What a user asks about himself: sessions, money, limits."""

from dataclasses import asdict
from typing import Final

from touchline.core.errors import Code, Rejection
from touchline.core.funds import MoveFunds
from touchline.core.ids import check_key
from touchline.core.ledger import TransferKind
from touchline.core.money import format_minor, parse_minor
from touchline.edge.http.betting import REPLAYED
from touchline.edge.http.operations import PLAYERS, Call, Operation, Reply
from touchline.edge.http.paging import QUERY, cursor_after, read_page
from touchline.edge.http.platform import Platform
from touchline.wire.account_v1 import (
    AccountV1,
    BalanceV1,
    CredentialsV1,
    ExcludedV1,
    FundsMovedV1,
    LimitsRequestV1,
    LimitsV1,
    MoveFundsV1,
    SelfExclusionV1,
    TokenV1,
    TransactionsV1,
    account_to_wire,
    funds_moved_to_wire,
    limits_from_wire,
    limits_to_wire,
    transaction_to_wire,
)
from touchline.wire.decimals import decimal_text


async def _register(platform: Platform, call: Call) -> Reply:
    session = await platform.signing_in.register(call.body.username, call.body.password)
    return Reply(TokenV1(**asdict(session)), 201)


async def _log_in(platform: Platform, call: Call) -> Reply:
    session = await platform.signing_in.log_in(call.body.username, call.body.password)
    return Reply(TokenV1(**asdict(session)))


async def _log_out(platform: Platform, call: Call) -> Reply:
    await platform.signing_in.log_out(call.caller)
    return Reply(None, 204)


async def _account(platform: Platform, call: Call) -> Reply:
    profile = await platform.accounts.profile(call.caller.player_id)
    if profile is None:
        raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
    now = platform.clock.now()
    return Reply(account_to_wire(profile.account, profile.username, now, profile.velocity_flagged_at))


async def _balance(platform: Platform, call: Call) -> Reply:
    balance, source = await platform.balances.read(call.caller.player_id)
    return Reply(BalanceV1(format_minor(balance.balance_minor, balance.currency), balance.currency, source))


async def _deposit(platform: Platform, call: Call) -> Reply:
    return await _move_funds(platform, call, TransferKind.DEPOSIT)


async def _withdraw(platform: Platform, call: Call) -> Reply:
    return await _move_funds(platform, call, TransferKind.WITHDRAWAL)


async def _move_funds(platform: Platform, call: Call, kind: TransferKind) -> Reply:
    body: MoveFundsV1 = call.body
    request = MoveFunds(
        move_id=platform.chance.uuid(),
        player_id=call.caller.player_id,
        kind=kind,
        amount_minor=parse_minor("amount", decimal_text("amount", body.amount), platform.currency),
        idempotency_key=check_key("idempotency_key", body.idempotency_key),
    )
    moved, replayed = await platform.funds.move(request)
    return Reply(funds_moved_to_wire(moved), 201, headers=REPLAYED if replayed else ())


async def _transactions(platform: Platform, call: Call) -> Reply:
    limit, before = read_page(call.query)
    player_id = call.caller.player_id
    transfers = await platform.accounts.transactions(player_id, before, limit)
    last = transfers[-1] if len(transfers) == limit else None
    cursor = None if last is None else cursor_after(last.recorded_at, last.transfer_id)
    return Reply(TransactionsV1([transaction_to_wire(t, player_id) for t in transfers], cursor))


async def _limits(platform: Platform, call: Call) -> Reply:
    wanted = limits_from_wire(call.body, platform.currency)
    limits = await platform.protection.change_limits(call.caller, wanted)
    return Reply(limits_to_wire(limits, platform.currency, platform.clock.now()))


async def _exclude(platform: Platform, call: Call) -> Reply:
    return Reply(ExcludedV1(await platform.protection.exclude(call.caller, call.body.months)))


FUNDS_REFUSALS: Final = (Code.IDEMPOTENCY_CONFLICT, Code.ACCOUNT_LOCKED)
OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/auth/register",
        summary="Open a player's account and log in",
        handle=_register,
        roles=None,
        body=CredentialsV1,
        answer=TokenV1,
        status=201,
    ),
    Operation(
        method="POST",
        path="/auth/login",
        summary="Log in",
        handle=_log_in,
        roles=None,
        body=CredentialsV1,
        answer=TokenV1,
        refusals=(Code.UNAUTHENTICATED, Code.ACCOUNT_LOCKED),
    ),
    Operation(method="POST", path="/auth/logout", summary="End this session", handle=_log_out, status=204),
    Operation(
        method="GET",
        path="/account",
        summary="Your account, its money and limits",
        handle=_account,
        roles=PLAYERS,
        answer=AccountV1,
    ),
    Operation(
        method="GET",
        path="/account/balance",
        summary="Your balance, and where it was read",
        handle=_balance,
        roles=PLAYERS,
        answer=BalanceV1,
    ),
    Operation(
        method="POST",
        path="/account/deposits",
        summary="Bring money in",
        handle=_deposit,
        roles=PLAYERS,
        body=MoveFundsV1,
        answer=FundsMovedV1,
        status=201,
        refusals=(*FUNDS_REFUSALS, Code.SELF_EXCLUDED, Code.LIMIT_EXCEEDED),
    ),
    Operation(
        method="POST",
        path="/account/withdrawals",
        summary="Take money out",
        handle=_withdraw,
        roles=PLAYERS,
        body=MoveFundsV1,
        answer=FundsMovedV1,
        status=201,
        refusals=(*FUNDS_REFUSALS, Code.INSUFFICIENT_BALANCE),
    ),
    Operation(
        method="GET",
        path="/account/transactions",
        summary="What moved on your account, newest first",
        handle=_transactions,
        roles=PLAYERS,
        query=QUERY,
        answer=TransactionsV1,
    ),
    Operation(
        method="PUT",
        path="/account/limits",
        summary="Lower limits at once, or raise them from 24 h on",
        handle=_limits,
        roles=PLAYERS,
        body=LimitsRequestV1,
        answer=LimitsV1,
    ),
    Operation(
        method="POST",
        path="/account/self-exclusion",
        summary="Exclude yourself from betting; it can be made longer, never shorter",
        handle=_exclude,
        roles=PLAYERS,
        body=SelfExclusionV1,
        answer=ExcludedV1,
    ),
)
