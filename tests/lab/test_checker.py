"""The checker on runs that are right, on long ones, on clocks and prices that differ a little, and on nothing."""

from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import asyncpg
import pytest

from tests.lab.betting_day import Clients, verdict
from tests.scene import postgres_stores, superuser
from touchline.lab import histories
from touchline.lab.bets_judged import Tolerance
from touchline.lab.checker import CannotCheck, check, reading_books
from touchline.lab.histories import read_players
from touchline.lab.records import Unreadable
from touchline.lab.verdicts import TOLD_PER_RULE_MAX


async def test_a_day_on_which_all_is_right_passes(clients: Clients, tmp_path: Path) -> None:
    found = await verdict(clients, tmp_path)
    assert [(rule.name, rule.violations) for rule in found.rules if rule.violations] == []
    assert found.ok
    assert {rule.name: rule.checked for rule in found.rules} == {
        "prices": 12,
        "wallets": 3,
        "keys": 11,
        "payouts": 12,
        "balances": 3,
        "acknowledged": 10,
        "refused": 2,
    }


async def test_an_empty_run_passes(database_dsn: str, tmp_path: Path) -> None:
    async with postgres_stores(database_dsn) as stores:
        assert (await verdict(Clients(stores), tmp_path)).ok


async def test_clocks_that_differ_are_borne_with_as_far_as_is_said(clients: Clients, tmp_path: Path) -> None:
    newest = clients.attempts[-1].sent_at
    clients.change("open", sent_at=newest + timedelta(seconds=10), answered_at=newest + timedelta(seconds=11))
    assert not (await verdict(clients, tmp_path, Tolerance(clocks=timedelta(seconds=9)))).ok
    assert (await verdict(clients, tmp_path, Tolerance(clocks=timedelta(seconds=12)))).ok


async def test_a_price_that_is_honoured_is_borne_with_as_far_as_is_said(clients: Clients, tmp_path: Path) -> None:
    newest = clients.attempts[-1].sent_at
    clients.change("open", sent_at=newest, answered_at=newest)  # at 2.00 while 2.10 is in force
    assert not (await verdict(clients, tmp_path, Tolerance(odds_pct=Fraction(49, 10)))).ok
    assert (await verdict(clients, tmp_path, Tolerance(odds_pct=Fraction(5)))).ok
    async with superuser(clients.stores) as connection:
        await connection.execute("UPDATE bets SET requested_odds_milli = 1990 WHERE idempotency_key = 'open';")
    clients.change("open", odds="1.99", accept="any")  # what is honoured is what was asked for, and nothing else
    assert not (await verdict(clients, tmp_path, Tolerance(odds_pct=Fraction(50)))).ok


async def test_a_long_history_is_checked_in_parts(
    clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients.change("won", bet={"stake": "11.00"})
    clients.change("taken back", bet={"stake": "11.00"})
    whole = await verdict(clients, tmp_path)
    monkeypatch.setattr(histories, "HISTORY_BYTES_AT_ONCE", 1_000)
    assert await verdict(clients, tmp_path) == whole
    players = [{attempt.player_id for attempt in attempts} for attempts in read_players(tmp_path / "bets.jsonl")]
    assert sorted(map(len, players)) == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [tmp_path / "bets.jsonl"]


async def test_more_violations_than_are_told_are_counted(clients: Clients, tmp_path: Path) -> None:
    for _ in range(TOLD_PER_RULE_MAX + 5):
        clients.again("won", bet={"stake": "11.00"})
    found = await verdict(clients, tmp_path)
    told = next(rule.violations for rule in found.rules if rule.name == "acknowledged")
    assert (len(told), told[-1]) == (TOLD_PER_RULE_MAX + 1, "and 5 more")


async def test_a_history_that_is_cut_off_is_told(clients: Clients, tmp_path: Path) -> None:
    dsn = clients.stores.dsn or ""
    history = clients.write(tmp_path / "bets.jsonl")
    history.write_bytes(history.read_bytes()[:-20])
    with pytest.raises(Unreadable, match=f"bets.jsonl, line {len(clients.attempts)}: "):
        await check(dsn, history)


async def test_books_that_are_not_there_are_told(clients: Clients, tmp_path: Path) -> None:
    dsn = (clients.stores.dsn or "").rpartition("/")[0]
    history = clients.write(tmp_path / "bets.jsonl")
    with pytest.raises(CannotCheck, match='the books can\'t be read: database "nobody" does not exist'):
        await check(f"{dsn}/nobody", history)
    with pytest.raises(CannotCheck, match="the books can't be read"):
        await check("postgresql://touchline@127.0.0.1:1/touchline", history)


async def test_the_checker_can_not_write(clients: Clients) -> None:
    async with reading_books(clients.stores.dsn or "") as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("UPDATE wallets SET balance_minor = 0")
