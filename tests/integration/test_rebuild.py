"""Facts against tables: each difference is named, and all but transfers can be written anew."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from tests.ledger_scene import ledger_stores
from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import AWAY_WINS, HOME_WINS, Stores, bet_on, move, open_player, placed, price, superuser, work_all
from touchline.adapters.memory.chance import SeededChance
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.cli_rebuild import rebuild_app
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.core.ledger import TransferKind
from touchline.flows.rebuild_state import rebuild, take_snapshot, verify

# What was done to the tables, what is told of it, and whether the quick way sees it too.
PLANTED = [
    ("UPDATE wallets SET balance_minor = balance_minor + 1 WHERE user_id = 'ann'", "wallet of ann", True),
    ("UPDATE wallets SET version = version + 1 WHERE user_id = 'bob'", "wallet of bob", True),
    ("UPDATE bets SET stake_minor = stake_minor + 1 WHERE status = 'PLACED'", "bet ", True),
    ("UPDATE bets SET payout_minor = payout_minor + 1 WHERE status = 'SETTLED'", "bet ", False),
    ("UPDATE bets SET idempotency_key = 'other' WHERE idempotency_key = 'k'", "bet ", False),
    ("UPDATE exposures SET bets = bets + 1", "exposure of ", True),
    ("INSERT INTO exposures VALUES ('match-1:1x2', 'none', 1, 1, 1)", "exposure of match-1:1x2 none", True),
    ("DELETE FROM bets WHERE status = 'PLACED'", "bet ", True),
    ("DELETE FROM funds_moves WHERE kind = 'withdrawal'", "move ", False),
    ("UPDATE funds_moves SET amount_minor = amount_minor + 1", "move ", False),
]
UNCHANGEABLE = [
    ("DELETE FROM transfers WHERE kind = 'payout'", "transfer "),
    ("UPDATE transfers SET amount_minor = amount_minor + 1 WHERE kind = 'deposit'", "transfer "),
    ("UPDATE transfers SET credit_account = 'cashier' WHERE kind = 'stake_released'", "transfer "),
]


@pytest_asyncio.fixture
async def stores(database_dsn: str) -> AsyncIterator[Stores]:
    """Two players with settled, taken back and open bets, money moved in and out, and a snapshot in the midst."""
    archive = PostgresArchiveStore(database_dsn)
    async with ledger_stores(database_dsn) as made:
        ann, bob = await open_player(made, "ann"), await open_player(made, "bob")
        market = await price(made)
        for player in (ann, bob):
            for selection in (HOME, DRAW, AWAY):
                await placed(made, bet_on(made, market, player, selection, 1_000))
            await move(made, player, 500, "out", TransferKind.WITHDRAWAL)
        await placed(made, bet_on(made, market, ann, HOME, 700, "k"))
        await made.trading.settle(MARKET, HOME_WINS)
        await work_all(made)
        for shard in (1, 2):
            assert await take_snapshot(archive, shard, made.clock.now(), every=1)
        await made.trading.roll_back(MARKET)
        await work_all(made)
        await made.trading.settle(MARKET, AWAY_WINS)
        await work_all(made)
        other = await price(made, market_id=type(MARKET)("other"))
        await placed(made, bet_on(made, other, bob, DRAW, 300))
        yield made


@pytest.fixture
def archive(database_dsn: str) -> PostgresArchiveStore:
    return PostgresArchiveStore(database_dsn)


async def plant(stores: Stores, change: str) -> None:
    async with superuser(stores) as connection:
        await connection.execute("SET session_replication_role = replica")  # append-only for all but a vandal
        assert await connection.execute(change) not in ("UPDATE 0", "DELETE 0")


async def test_books_that_nobody_touched_are_what_their_facts_say(
    stores: Stores, archive: PostgresArchiveStore
) -> None:
    found = await verify(archive)
    assert (found.differences, found.shards, found.players, found.bets) == ([], 2, 2, 8)
    async with superuser(stores) as connection:
        assert found.facts == await connection.fetchval("SELECT count(*) FROM facts WHERE shard > 0")
    quick = await verify(archive, from_snapshots=True)
    assert (quick.differences, quick.players, quick.bets) == ([], 2, 1)
    assert not await take_snapshot(archive, 1, stores.clock.now(), every=1_000)


@pytest.mark.parametrize(("change", "told", "quick"), PLANTED)
async def test_a_difference_is_named(
    stores: Stores, archive: PostgresArchiveStore, change: str, told: str, quick: bool
) -> None:
    await plant(stores, change)
    found = await verify(archive)
    assert found.differences
    assert all(difference.startswith(told) for difference in found.differences)
    assert bool((await verify(archive, from_snapshots=True)).differences) is quick
    with pytest.raises(Outage):  # while writers are at work
        await rebuild(archive)


@pytest.mark.parametrize("change", [change for change, _, _ in PLANTED])
async def test_what_was_changed_is_written_anew(
    database_dsn: str, archive: PostgresArchiveStore, change: str
) -> None:
    async with ledger_stores(database_dsn) as made:
        ann, market = await open_player(made), await price(made)
        await placed(made, bet_on(made, market, ann, HOME, 700, "k"))
        await move(made, ann, 500, "out", TransferKind.WITHDRAWAL)
        bob = await open_player(made, "bob")
        await made.trading.settle(MARKET, HOME_WINS)
        await work_all(made)
        other = await price(made, market_id=type(MARKET)("other"))
        await placed(made, bet_on(made, other, bob, DRAW, 300))
        await plant(made, change)
        assert (await verify(archive)).differences
    done = await rebuild(archive)
    assert done.rows + done.exposures > 0
    assert (await verify(archive)).differences == []
    again = await rebuild(archive)
    assert (again.rows, again.exposures) == (0, 0)
    async with ledger_stores(database_dsn) as made:  # and the ledger goes on
        await move(replace(made, chance=SeededChance(2)), PlayerId("ann"), 5, "later")
        assert (await verify(archive)).differences == []


@pytest.mark.parametrize(("change", "told"), UNCHANGEABLE)
async def test_transfers_are_compared_and_left_as_they_are(
    stores: Stores, archive: PostgresArchiveStore, change: str, told: str
) -> None:
    await plant(stores, change)
    found = await verify(archive)
    assert found.differences
    assert all(difference.startswith(told) for difference in found.differences)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM facts WHERE shard = 1 AND seq = 2", "shard 1: facts 1 to"),
        ("DELETE FROM facts WHERE kind = 'AccountOpened' AND player_id = 'ann'", "has no account yet"),
        ("UPDATE facts SET body = 'no JSON' WHERE kind = 'BetDecided'", "can't be read"),
        ("INSERT INTO snapshots VALUES (1, 9000, now(), 'no snapshot')", "a snapshot can't be read"),
    ],
)
async def test_facts_that_are_missing_or_no_facts_are_told(
    stores: Stores, archive: PostgresArchiveStore, change: str, told: str
) -> None:
    await plant(stores, change)
    found = await verify(archive, from_snapshots="snapshots" in change)
    assert any(told in difference for difference in found.differences), found.differences


SAME = "3 facts in 2 shards: 1 players, 1 bets\nthe tables hold what the facts say\n"


def told_by_the_command_line(dsn: str, *options: str) -> tuple[int, str]:
    answer = CliRunner().invoke(rebuild_app, list(options), env={"TOUCHLINE_POSTGRES": dsn})
    return answer.exit_code, answer.output


async def test_the_command_line_compares_and_writes(database_dsn: str) -> None:
    async with ledger_stores(database_dsn) as made:
        ann, market = await open_player(made), await price(made)
        await placed(made, bet_on(made, market, ann, HOME, 700))
        ask = partial(asyncio.to_thread, told_by_the_command_line, database_dsn)
        assert (await ask("--verify")) == (0, SAME)
        assert (await ask("--verify", "--from-snapshots"))[0] == 0
        assert (await ask("--from-snapshots"))[0] == 2
        status, told = await ask()
        assert (status, "a writer is at work" in told) == (2, True)
        await plant(made, "UPDATE wallets SET balance_minor = 7")
        status, told = await ask("--verify")
        assert (status, "wallet of ann" in told) == (1, True)
    assert (await ask()) == (0, "written anew: 1 rows, 0 exposures\n" + SAME)
