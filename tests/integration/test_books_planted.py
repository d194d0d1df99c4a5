"""Each way the books can be wrong, planted behind the platform's back: the auditor names it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import (
    HOME_WINS,
    Stores,
    bet_on,
    move,
    open_player,
    placed,
    postgres_stores,
    price,
    superuser,
    work_all,
)
from touchline.core.ids import MarketId
from touchline.core.ledger import TransferKind

OPEN = MarketId("open")


@pytest_asyncio.fixture
async def stores(database_dsn: str) -> AsyncIterator[Stores]:
    """A platform after a day's work: a settled market, an open one, money in and out."""
    async with postgres_stores(database_dsn) as made:
        ann, bob = await open_player(made, "ann"), await open_player(made, "bob")
        settled, still_open = await price(made), await price(made, market_id=OPEN)
        for player, selection in ((ann, HOME), (bob, DRAW), (bob, AWAY)):
            await placed(made, bet_on(made, settled, player, selection, key=f"settled {selection}"))
        await placed(made, bet_on(made, still_open, ann, key="open"))
        await price(made, {HOME: 2_100}, market_id=OPEN)
        await move(made, bob, 5_000, "out", TransferKind.WITHDRAWAL)
        await made.trading.settle(MARKET, HOME_WINS)
        await work_all(made)
        assert await made.books.discrepancies() == []
        yield made


TRANSFER = (
    "INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,"
    " user_id, recorded_at) SELECT gen_random_uuid(), '{kind}', '{debit}', '{credit}', {amount}, 'EUR', {bet},"
    " {user}, now()"
)
HELD_BY_ANN = "UPDATE wallets SET balance_minor = balance_minor + {amount} WHERE user_id = 'ann'"
OF_KEY = "(SELECT bet_id FROM bets WHERE idempotency_key = '{key}')"


def transfer(
    kind: str, debit: str, credit: str, amount: int, key: str | None = None, user: str | None = None
) -> str:
    bet = "NULL::uuid" if key is None else OF_KEY.format(key=key)
    owner = "NULL" if user is None else f"'{user}'"
    return TRANSFER.format(kind=kind, debit=debit, credit=credit, amount=amount, bet=bet, user=owner)


WON, LOST = "settled home", "settled draw"
# What is done behind the platform's back, and what the auditor must say of it.
PLANTED = {
    "a balance is one too high": (
        [HELD_BY_ANN.format(amount=1)],
        ["wallet of ann: holds 100001 and owes 0, its transfers say 100000 and 0"],
    ),
    "a debt is below zero": (
        [
            "ALTER TABLE wallets DROP CONSTRAINT wallets_debt_minor_check, DROP CONSTRAINT wallets_check",
            "UPDATE wallets SET debt_minor = -5 WHERE user_id = 'bob'",
        ],
        ["wallet of bob: holds 93000 and owes -5"],
    ),
    "a stake's transfer is missing": (
        [f"DELETE FROM transfers WHERE kind = 'stake' AND bet_id = {OF_KEY.format(key=WON)}"],
        ["wallet of ann", f"bet {WON}"],
    ),
    "a payout is made twice": (
        [transfer("payout", "house", "wallet:ann", 2_000, WON, "ann"), HELD_BY_ANN.format(amount=2_000)],
        [f"bet {WON}: SETTLED, stake 1000, payout 2000, but its transfers gave the player 3000"],
    ),
    "a payout goes to another player": (
        [
            "UPDATE transfers SET credit_account = 'wallet:bob' WHERE kind = 'payout'",
            "UPDATE wallets SET balance_minor = balance_minor + 2000 WHERE user_id = 'bob'",
            HELD_BY_ANN.format(amount=-2_000),
        ],
        [f"bet {WON}", "told to ann in EUR, moves an account of bob"],
    ),
    "a bet is settled with a wrong payout": (
        [f"UPDATE bets SET payout_minor = 1999 WHERE idempotency_key = '{WON}'"],
        [f"bet {WON}: SETTLED, stake 1000, payout 1999", f"bet {WON}: SETTLED won 1999, but settlement 1 says"],
    ),
    "a lost bet is paid, and all the money says so": (
        [
            transfer("payout", "house", "wallet:bob", 3_000, LOST, "bob"),
            "UPDATE wallets SET balance_minor = balance_minor + 3000 WHERE user_id = 'bob'",
            f"UPDATE bets SET payout_minor = 3000, result = 'won' WHERE idempotency_key = '{LOST}'",
        ],
        [f"bet {LOST}: SETTLED won 3000, but settlement 1 says SETTLED lost 0"],
    ),
    "a bet stands without its stake": (
        [
            "INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version,"
            " stake_minor, currency, created_at, requested_odds_milli, requested_odds_version, idempotency_key)"
            " SELECT gen_random_uuid(), user_id, event_id, market_id, selection_id, odds_milli, odds_version,"
            " stake_minor, currency, created_at, requested_odds_milli, requested_odds_version, 'forged'"
            " FROM bets WHERE idempotency_key = 'open'"
        ],
        ["bet forged: PLACED, stake 1000, payout None", "exposure of open home: 1000, its open bets say 2000"],
    ),
    "money moves for a bet that is not there": (
        [f"DELETE FROM bets WHERE idempotency_key = '{LOST}'"],
        ["its transfers gave the player -1000, hold 0 and gave the house 1000", "settlement 1: worked 3 bets, 2"],
    ),
    "an open bet is left on a settled market": (
        [
            "UPDATE bets SET status = 'PLACED', result = NULL, payout_minor = NULL, settled_at = NULL,"
            f" settlement_id = NULL WHERE idempotency_key = '{LOST}'",
            transfer("rollback", "house", "stakes", 1_000, LOST),
            f"UPDATE exposures SET bets = 1, stakes_minor = 1000, liability_minor = 2000"
            f" WHERE market_id = '{MARKET}' AND selection_id = 'draw'",
        ],
        [f"bet {LOST}: still open, though market {MARKET} is settled", "settlement 1: worked 3 bets, 2 stand"],
    ),
    "a bet is decided by no settlement": (
        [f"UPDATE bets SET settlement_id = NULL WHERE idempotency_key = '{LOST}'"],
        [f"bet {LOST}: SETTLED by no settlement"],
    ),
    "a bet stays decided though its settlement was rolled back": (
        [
            "INSERT INTO settlements (market_id, kind, results, undoes, requested_at, finished_at)"
            f" VALUES ('{MARKET}', 'rollback_settlement', '{{}}', 1, now(), now())",
            "UPDATE settlements SET undone_by = 2 WHERE settlement_id = 1",
        ],
        [f"bet {WON}: still SETTLED though settlement 1 was rolled back", f"market {MARKET}: settled, its settle"],
    ),
    "a market is opened again by hand": (
        [f"UPDATE odds SET status = 'active' WHERE market_id = '{MARKET}'"],
        [f"market {MARKET}: active, its settlements say otherwise", f"market {MARKET}: at version 2"],
    ),
    "a version is missing from the history": (
        ["DELETE FROM odds_history WHERE market_id = 'open' AND odds_version = 1"],
        ["market open: at version 2, its history holds 1, the newest 2", "bet open: 2000 thousandths were not"],
    ),
    "a price is rewritten": (
        ["UPDATE odds SET selections = jsonb_set(selections, '{0,odds}', '\"9.00\"') WHERE market_id = 'open'"],
        ["market open: at version 2, its history holds 2, the newest 2"],
    ),
    "a bet was taken at a price that was not offered": (
        ["UPDATE bets SET odds_milli = 2001 WHERE idempotency_key = 'open'"],
        ["bet open: 2001 thousandths were not offered by open at version 1"],
    ),
    "a bet was taken while the market was suspended": (
        ["UPDATE odds_history SET status = 'suspended' WHERE market_id = 'open' AND odds_version = 1"],
        ["bet open: 2000 thousandths were not offered by open at version 1"],
    ),
    "an exposure is off": (
        ["UPDATE exposures SET liability_minor = liability_minor - 1 WHERE market_id = 'open'"],
        ["exposure of open home: 999, its open bets say 1000"],
    ),
    "money is with nobody": (
        [transfer("payout", "house", "wallet:ghost", 5)],
        ["account wallet:ghost: moves money and is nobody's"],
    ),
    "a deposit is on record without its money": (
        [
            "INSERT INTO funds_moves VALUES (gen_random_uuid(), 'ann', 'deposit', 7, 'EUR', 7, 'forged', now())",
        ],
        ["player ann: deposit of 100007 on record, his transfers say 100000"],
    ),
    "money comes in without a deposit": (
        [transfer("deposit", "cashier", "wallet:ann", 9, user="ann"), HELD_BY_ANN.format(amount=9)],
        ["player ann: deposit of 100000 on record, his transfers say 100009"],
    ),
    "a transfer is hidden from its player": (
        ["UPDATE transfers SET user_id = NULL WHERE kind = 'withdrawal'"],
        ["told to None in EUR, moves an account of bob in EUR", "player bob: withdrawal of 5000"],
    ),
    "a transfer is in another currency": (
        ["UPDATE transfers SET currency = 'JPY' WHERE kind = 'withdrawal'"],
        ["told to bob in JPY, moves an account of bob in EUR"],
    ),
    "a bet is in another currency": (
        ["UPDATE bets SET currency = 'JPY' WHERE idempotency_key = 'open'"],
        ["bet open: in JPY, its player's wallet in EUR"],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_the_auditor_names(stores: Stores, name: str) -> None:
    planted, expected = PLANTED[name]
    async with superuser(stores) as connection:
        await connection.execute("SET session_replication_role = replica")  # neither triggers nor foreign keys
        for statement in planted:
            await connection.execute(statement)
        keys = await connection.fetch("SELECT bet_id, idempotency_key FROM bets")
    told = "\n".join(await stores.books.discrepancies())
    for row in keys:
        told = told.replace(str(row["bet_id"]), row["idempotency_key"])
    assert [words for words in expected if words not in told] == [], told


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount_minor = 1",
        "DELETE FROM transfers",
        "UPDATE odds_history SET status = 'active'",
        "DELETE FROM odds_history",
    ],
)
async def test_what_happened_can_not_be_rewritten(stores: Stores, statement: str) -> None:
    async with superuser(stores) as connection:
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallets SET balance_minor = -1",
        "UPDATE wallets SET balance_minor = 5, debt_minor = 5",
        "UPDATE bets SET stake_minor = 0",
        "UPDATE bets SET odds_milli = 1000",
        "UPDATE odds SET odds_version = 0",
        "UPDATE bets SET idempotency_key = 'same'",
    ],
)
async def test_the_schema_itself_refuses(stores: Stores, statement: str) -> None:
    async with superuser(stores) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute(statement)
