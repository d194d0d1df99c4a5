"""Each way in which a run can break a rule, planted in the books or in what clients saw: the checker names it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lab.betting_day import OPEN, Clients, verdict
from tests.samples import MARKET
from tests.scene import superuser

DAY = timedelta(days=1)
OTHER_BET = "01020304-0506-4708-890a-0b0c0d0e0f10"
OF_KEY = "(SELECT bet_id FROM bets WHERE idempotency_key = '{key}')"
OF_WON, OF_VOID, OF_TWICE = (OF_KEY.format(key=key) for key in ("won", "void", "twice"))
OF_OPEN, OF_LOST = (OF_KEY.format(key=key) for key in ("open", "never heard of"))
TRANSFER = (
    "INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,"
    " user_id, recorded_at) VALUES (gen_random_uuid(), '{kind}', '{debit}', '{credit}', {amount}, 'EUR', {bet},"
    " NULL, now())"
)
COPY_OF_BET = (
    "INSERT INTO bets SELECT (jsonb_populate_record(b, '{changed}')).* FROM bets b WHERE idempotency_key = '{key}'"
)


def transfer(kind: str, debit: str, credit: str, amount: int, key: str | None = None) -> str:
    bet = "NULL" if key is None else OF_KEY.format(key=key)
    return TRANSFER.format(kind=kind, debit=debit, credit=credit, amount=amount, bet=bet)


def held(user: str, more: int) -> str:
    return f"UPDATE wallets SET balance_minor = balance_minor + {more} WHERE user_id = '{user}'"


def bet_copied(key: str, **changed: object) -> str:
    """A second bet, at first without its money."""
    return COPY_OF_BET.format(changed=json.dumps({"bet_id": OTHER_BET, **changed}), key=key)


STAKE_OF_COPY = TRANSFER.format(
    kind="stake", debit="wallet:bob", credit="stakes", amount=1_000, bet=f"'{OTHER_BET}'"
)


@dataclass(frozen=True)
class Planted:
    """What is done to the books and to the histories, and what the checker must then say under which rules."""

    says: dict[str, list[str]]
    books: list[str] = field(default_factory=list)
    seen: Callable[[Clients], object] = lambda clients: None


PLANTED = {
    "a price is taken that was withdrawn before the request": Planted(
        {"prices": ["key open: version 1 of open was in force from", "not between its request"]},
        seen=lambda clients: clients.change("open", sent_at=clients.attempts[-1].sent_at),
    ),
    "a price is taken that came after the answer": Planted(
        {"prices": ["key offered again: version 2 of open was in force from"]},
        seen=lambda clients: clients.change(
            "offered again",
            attempt=2,
            sent_at=clients.attempts[0].sent_at - DAY,
            answered_at=clients.attempts[0].sent_at,
        ),
    ),
    "a lost attempt's bet is at a price that was withdrawn before": Planted(
        {"prices": ["key never heard of: version 1 of open was in force from"]},
        books=[
            "UPDATE bets SET odds_version = 1, odds_milli = 2000, requested_odds_version = 1,"
            " requested_odds_milli = 2000 WHERE idempotency_key = 'never heard of'"
        ],
        seen=lambda clients: clients.change("never heard of", odds="2.00", odds_version=1),
    ),
    "a price is taken that was not offered": Planted(
        {
            "prices": [
                "key open: taken at 2001 thousandths, version 1 of open offered 2000",
                "key open: taken at 2001 thousandths, asked for at 2.00 (accept none)",
            ]
        },
        books=["UPDATE bets SET odds_milli = 2001 WHERE idempotency_key = 'open'"],
        seen=lambda clients: clients.change("open", bet={"odds": "2.001"}),
    ),
    "a worse price is taken than the bettor agreed to": Planted(
        {"prices": ["key better: taken at 2100 thousandths, asked for at 2.20 (accept better)"]},
        books=["UPDATE bets SET requested_odds_milli = 2200 WHERE idempotency_key = 'better'"],
        seen=lambda clients: clients.change("better", odds="2.20"),
    ),
    "a bet is taken on a suspended market": Planted(
        {"prices": ["key open: taken at version 1 of open, which was not to be bet on (market suspended"]},
        books=["UPDATE odds_history SET status = 'suspended' WHERE market_id = 'open' AND odds_version = 1"],
    ),
    "a bet is taken at a version that never was": Planted(
        {"prices": ["key open: taken at version 1 of open, which is not in the history"]},
        books=["DELETE FROM odds_history WHERE market_id = 'open' AND odds_version = 1"],
    ),
    "a wallet was below zero for a while": Planted(
        {"wallets": ["wallet:ann: at -896500"]},
        books=[
            transfer("adjustment", "wallet:ann", "house", 1_000_000),
            transfer("adjustment", "house", "wallet:ann", 1_000_000),
        ],
    ),
    "one key has two bets, and money for both": Planted(
        {"keys": ["key offered again of bob: 2 bets, "]},
        books=[
            "DROP INDEX bets_by_key",
            bet_copied("offered again"),
            STAKE_OF_COPY,
            held("bob", -1_000),
        ],
    ),
    "one key is answered with two bets": Planted(
        {
            "keys": ["key cut off of bob: answered with", OTHER_BET],
            "acknowledged": [f"bet {OTHER_BET} of bob, key cut off: answered 201, but it is not on record"],
        },
        seen=lambda clients: clients.again("cut off", 2, bet={"bet_id": OTHER_BET}),
    ),
    "two attempts without a key are answered with one bet": Planted(
        {"keys": ["answered to two attempts without a key"]},
        seen=lambda clients: clients.again(None),
    ),
    "a bet is paid twice": Planted(
        {"payouts": ["key won: paid 2000 (payout) after it was paid 2000 already"]},
        books=[transfer("payout", "house", "wallet:ann", 2_000, "won"), held("ann", 2_000)],
    ),
    "a lost bet is paid after all": Planted(
        {"payouts": ["key lost: paid 3000 (payout) after it was paid 0 already"]},
        books=[transfer("payout", "house", "wallet:bob", 3_000, "lost"), held("bob", 3_000)],
    ),
    "a refund is made twice": Planted(
        {"payouts": ["key void: paid 1000 (refund) after it was paid 1000 already"]},
        books=[transfer("refund", "stakes", "wallet:ann", 1_000, "void"), held("ann", 1_000)],
    ),
    "a payout is missing, and the balance agrees": Planted(
        {"payouts": ["key won: paid 0, but settlement 1 makes it 2000"]},
        books=[
            f"DELETE FROM transfers WHERE kind = 'payout' AND bet_id = {OF_WON}",
            f"UPDATE transfers SET credit_account = 'house' WHERE kind = 'stake_released' AND bet_id = {OF_WON}",
            held("ann", -2_000),
        ],
    ),
    "nothing at all was moved for a settled bet": Planted(
        {"payouts": ["key won: SETTLED by its record, but never paid"]},
        books=[
            f"DELETE FROM transfers WHERE kind <> 'stake' AND bet_id = {OF_WON}",
            held("ann", -2_000),
        ],
    ),
    "a payout is wrong, and record and balance agree": Planted(
        {"payouts": ["key won: paid 1999, but settlement 1 makes it 2000"]},
        books=[
            "UPDATE transfers SET amount_minor = CASE kind WHEN 'payout' THEN 1999 ELSE amount_minor END"
            f" WHERE kind IN ('payout', 'stake_released') AND bet_id = {OF_WON}",
            "UPDATE bets SET payout_minor = 1999 WHERE idempotency_key = 'won'",
            held("ann", -1),
        ],
    ),
    "a void refunds less than the stake": Planted(
        {"payouts": ["key void: refund while it is open gives the player +999, the stakes -999, the house +0"]},
        books=[
            f"UPDATE transfers SET amount_minor = 999 WHERE kind = 'refund' AND bet_id = {OF_VOID}",
            held("ann", -1),
        ],
    ),
    "a payout goes to somebody else": Planted(
        {"payouts": ["key won: payout and stake_released while it is open gives the player +0, the stakes -1000"]},
        books=[
            "UPDATE transfers SET credit_account = CASE kind WHEN 'payout' THEN 'wallet:bob' ELSE 'house' END"
            f" WHERE kind IN ('payout', 'stake_released') AND bet_id = {OF_WON}",
            held("ann", -2_000),
            held("bob", 2_000),
        ],
    ),
    "the record says otherwise than the settlement": Planted(
        {"payouts": ["key lost: SETTLED won 0 by its record, SETTLED lost 0 by its settlement"]},
        books=["UPDATE bets SET result = 'won' WHERE idempotency_key = 'lost'"],
    ),
    "a rollback takes back less than was paid": Planted(
        {"payouts": ["key twice: paid 4500 (payout and stake_released) after it was paid 0 already"]},
        books=[
            f"DELETE FROM transfers WHERE kind = 'rollback' AND bet_id = {OF_TWICE}",
        ],
    ),
    "a bet stands by a settlement that was taken back": Planted(
        {"payouts": ["key won: SETTLED by settlement 1, which does not stand"]},
        books=[
            "INSERT INTO settlements (market_id, kind, results, undoes, requested_at, finished_at)"
            f" VALUES ('{MARKET}', 'rollback_settlement', '{{}}', 1, now(), now())",
            "UPDATE settlements SET undone_by = (SELECT max(settlement_id) FROM settlements)"
            " WHERE settlement_id = 1",
        ],
    ),
    "a settled market has an open bet": Planted(
        {"payouts": [f"key open: still open, though {OPEN} is settled"]},
        books=[f"UPDATE odds SET status = 'settled' WHERE market_id = '{OPEN}'"],
    ),
    "money moves for a bet that is not there": Planted(
        {"payouts": [f"bet {OTHER_BET}: money moved for it, but it is not on record"]},
        books=[STAKE_OF_COPY, held("bob", -1_000)],
    ),
    "a bet is there for which no money moved": Planted(
        {"payouts": ["key never heard of: its stake was never taken"]},
        books=[
            f"DELETE FROM transfers WHERE bet_id = {OF_LOST}",
            held("bob", 1_000),
        ],
    ),
    "a balance is off by one": Planted(
        {"balances": ["wallet:ann: holds 103501, its transfers say 103500"]},
        books=[held("ann", 1)],
    ),
    "a debt is owed for nothing": Planted(
        {"balances": ["debt:ann: holds -7, its transfers say 0"]},
        books=[
            "ALTER TABLE wallets DROP CONSTRAINT wallets_check",
            "UPDATE wallets SET debt_minor = 7 WHERE user_id = 'ann'",
        ],
    ),
    "money is with nobody": Planted(
        {"balances": ["wallet:ghost: nobody's, its transfers say 5"]},
        books=[transfer("adjustment", "house", "wallet:ghost", 5)],
    ),
    "a deposit is on record without its money": Planted(
        {"balances": ["ann: deposit of 100007 on record, the transfers say 100000"]},
        books=[
            "INSERT INTO funds_moves VALUES (gen_random_uuid(), 'ann', 'deposit', 7, 'EUR', 7, 'forged', now())"
        ],
    ),
    "an acknowledged bet is lost, with its money": Planted(
        {"acknowledged": ["of ann, key open: answered 201, but it is not on record under it"]},
        books=[
            f"DELETE FROM transfers WHERE bet_id = {OF_OPEN}",
            "DELETE FROM bets WHERE idempotency_key = 'open'",
            held("ann", 1_000),
        ],
    ),
    "an acknowledged bet without a key is lost, with its money": Planted(
        {"acknowledged": ["of bob, key None: answered 201, but it is not on record under it"]},
        books=[
            "DELETE FROM transfers WHERE bet_id = (SELECT bet_id FROM bets WHERE idempotency_key IS NULL"
            " AND selection_id = 'away')",
            "DELETE FROM bets WHERE idempotency_key IS NULL AND selection_id = 'away'",
            held("bob", 1_000),
        ],
    ),
    "an answer names another stake than the record": Planted(
        {"acknowledged": ["key open: stake answered 1100, on record 1000"]},
        seen=lambda clients: clients.change("open", bet={"stake": "11.00"}),
    ),
    "a record is another bet than was asked for": Planted(
        {"acknowledged": ["key open: selection draw, on record home", "selection answered draw, on record home"]},
        seen=lambda clients: clients.change("open", selection_id="draw", bet={"selection_id": "draw"}),
    ),
    "a refused bet is on record": Planted(
        {"refused": ["key never heard of: on record, but every attempt was refused (ODDS_CHANGED)"]},
        seen=lambda clients: clients.change("never heard of", status=409, code="ODDS_CHANGED"),
    ),
    "a refused bet without a key is on record": Planted(
        {"refused": ["without a key: on record, but every such attempt was refused or has its own bet"]},
        seen=lambda clients: clients.change(None, 2, status=400, code="INSUFFICIENT_BALANCE"),
    ),
    "a bet without a key is on record twice": Planted(
        {"refused": [f"bet {OTHER_BET} of bob, without a key: on record, but every such attempt"]},
        books=[
            bet_copied("lost", idempotency_key=None, status="PLACED", market_id="open"),
            "UPDATE bets SET result = NULL, payout_minor = NULL, settlement_id = NULL, selection_id = 'home',"
            f" odds_milli = 2000 WHERE bet_id = '{OTHER_BET}'",
            STAKE_OF_COPY,
            held("bob", -1_000),
        ],
    ),
    "a bet is on record that nobody asked for": Planted(
        {"refused": ["key never heard of: on record, but nobody asked for it"]},
        seen=lambda clients: clients.attempts.pop(clients.index("never heard of")),
    ),
    "a lost attempt's bet is another than was asked for": Planted(
        {"refused": ["key never heard of: on record, but nobody asked for it so"]},
        seen=lambda clients: clients.change("never heard of", stake="9.00"),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_the_checker_names(clients: Clients, tmp_path: Path, name: str) -> None:
    planted = PLANTED[name]
    async with superuser(clients.stores) as connection:
        await connection.execute("SET session_replication_role = replica")  # neither triggers nor foreign keys
        for statement in planted.books:
            await connection.execute(statement)
    planted.seen(clients)
    found = await verdict(clients, tmp_path)
    broken = {rule.name: "\n".join(rule.violations) for rule in found.rules if rule.violations}
    assert set(broken) == set(planted.says), broken
    missing = [words for rule, said in planted.says.items() for words in said if words not in broken[rule]]
    assert missing == [], broken
    assert not found.ok
