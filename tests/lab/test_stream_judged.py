"""The checker where odds have an authority of their own and the ledger is a log of facts: each wrong is named."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from tests.lab.betting_day import Clients
from tests.scene import superuser
from touchline.lab import checker
from touchline.lab.bets_judged import Tolerance
from touchline.lab.bettors import WENT_BACK
from touchline.lab.checker import CannotCheck, check
from touchline.lab.records import BETS, PRICE, Checks, Second
from touchline.lab.stream_judged import judge_pushes

# A day's books as `stream` would have made them: versions by its authority's clock, and a log of facts beside.
AUTHORITY = [
    "UPDATE odds_history SET in_force_from = date_trunc('milliseconds',"
    " greatest(recorded_at, pg_xact_commit_timestamp(xmin)))",
    """
    INSERT INTO facts SELECT shard, row_number() OVER (PARTITION BY shard ORDER BY at, kind), gen_random_uuid(),
        kind, player_id, NULL, bet_id, 1, at, ''
    FROM (
        SELECT 1 + length(user_id) % 2 AS shard, 'AccountOpened' AS kind, user_id AS player_id,
            NULL::uuid AS bet_id, '2026-01-01'::timestamptz AS at FROM wallets
        UNION ALL SELECT 1, 'FundsMoved', user_id, NULL, now() FROM funds_moves
        UNION ALL SELECT 2, 'BetAccepted', user_id, bet_id, created_at FROM bets
        UNION ALL SELECT DISTINCT ON (t.bet_id, t.xmin::text) 2, 'BetDecided', b.user_id, t.bet_id, t.recorded_at
            FROM transfers t JOIN bets b USING (bet_id) WHERE t.kind <> 'stake'
        UNION ALL SELECT 0, 'MarketDecided', NULL, NULL, requested_at FROM settlements
    ) happened
    """,
    "INSERT INTO shards (shard, epoch, next_seq) SELECT shard, 1, count(f.seq) + 1"
    " FROM generate_series(0, 2) shard LEFT JOIN facts f USING (shard) GROUP BY 1",
]
RULES = [
    "prices", "wallets", "keys", "payouts", "balances", "acknowledged", "refused", "history", "facts",
]  # fmt: skip
OF_OPEN = "bet_id = (SELECT bet_id FROM bets WHERE idempotency_key = 'open')"


@pytest_asyncio.fixture
async def streamed(clients: Clients) -> Clients:
    """A day of betting on `stream`, all of it right."""
    await changed(clients, AUTHORITY)
    return clients


async def changed(clients: Clients, statements: list[str]) -> None:
    """Change the books, past triggers and foreign keys."""
    async with superuser(clients.stores) as connection:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)


async def verdict(clients: Clients, run_dir: Path, versions: dict[str, int] | None = None) -> Checks:
    assert clients.stores.dsn is not None
    history = clients.write(run_dir / BETS)
    return await check(clients.stores.dsn, history, Tolerance(), stream=versions or {"open": 2})


async def test_a_day_on_which_all_is_right_passes(streamed: Clients, tmp_path: Path) -> None:
    found = await verdict(streamed, tmp_path)
    assert [(rule.name, rule.violations) for rule in found.rules if rule.violations] == []
    assert [rule.name for rule in found.rules] == RULES
    assert all(rule.checked for rule in found.rules)


@dataclass(frozen=True)
class Planted:
    """What is done to the books and to the histories, and what the checker must then say under which rule."""

    rule: str
    says: str
    books: list[str] = field(default_factory=list)
    seen: Callable[[Clients], object] = lambda clients: None


PLANTED = {
    "a price is taken that the authority had withdrawn, though its history was written later": Planted(
        "prices",
        "key open: version 1 of open was in force from",
        books=[
            "UPDATE odds_history SET in_force_from = in_force_from - interval '1 hour' WHERE market_id = 'open'"
        ],
    ),
    "a price is taken that the authority brought into force after the answer": Planted(
        "prices",
        "key cut off: version 2 of open was in force from",
        books=[
            "UPDATE odds_history SET in_force_from = in_force_from + interval '1 hour'"
            " WHERE market_id = 'open' AND odds_version = 2"
        ],
    ),
    "a version is left out of the history": Planted(
        "history",
        "version 2 of open comes after version 0",
        books=[
            "DELETE FROM odds_history WHERE market_id = 'open' AND odds_version = 1",
            "UPDATE bets SET odds_version = 2, odds_milli = 2100 WHERE market_id = 'open'",
        ],
    ),
    "a version came into force before the one before it": Planted(
        "history",
        "version 2 of voided is in force from",
        books=[
            "UPDATE odds_history SET in_force_from = in_force_from - interval '1 hour'"
            " WHERE market_id = 'voided' AND odds_version = 2"
        ],
    ),
    "a fact is missing in the middle": Planted(
        "facts", "shard 2 has gaps: ", books=["DELETE FROM facts WHERE shard = 2 AND seq = 5"]
    ),
    "the last fact is missing": Planted(
        "facts",
        "shard 0 has gaps: 4 from 1 to 4, the next is numbered 6",
        books=["DELETE FROM facts WHERE shard = 0 AND seq = 5"],
    ),
    "a writer that was replaced wrote after its successor": Planted(
        "facts",
        "fact 7 of shard 2 is of a replaced writer: epoch 1 after epoch 2",
        books=["UPDATE facts SET epoch = 2 WHERE shard = 2 AND seq < 7"],
    ),
    "a bet has no fact": Planted(
        "facts",
        "key open: 0 facts of its acceptance, 0 of its decisions, its money moved by 0",
        books=[f"UPDATE facts SET bet_id = gen_random_uuid(), kind = 'Other' WHERE {OF_OPEN}"],
    ),
    "a bet is accepted by two facts": Planted(
        "facts",
        "key open: 2 facts of its acceptance",
        books=[
            f"INSERT INTO facts SELECT 1, (SELECT next_seq FROM shards WHERE shard = 1), gen_random_uuid(), kind,"
            f" player_id, event_id, bet_id, epoch, recorded_at, body FROM facts WHERE {OF_OPEN}",
            "UPDATE shards SET next_seq = next_seq + 1 WHERE shard = 1",
        ],
    ),
    "a fact is of a bet that is not there": Planted(
        "facts",
        "1 facts of its acceptance, 0 of its decisions",
        books=[
            "INSERT INTO facts SELECT 1, next_seq, gen_random_uuid(), 'BetAccepted', 'ann', NULL,"
            " gen_random_uuid(), 1, now(), '' FROM shards WHERE shard = 1",
            "UPDATE shards SET next_seq = next_seq + 1 WHERE shard = 1",
        ],
    ),
    "a bet was decided, and its money did not move": Planted(
        "facts",
        "key open: 1 facts of its acceptance, 1 of its decisions, its money moved by 0",
        books=[
            f"INSERT INTO facts SELECT 1, (SELECT next_seq FROM shards WHERE shard = 1), gen_random_uuid(),"
            f" 'BetDecided', player_id, event_id, bet_id, epoch, recorded_at, body FROM facts WHERE {OF_OPEN}",
            "UPDATE shards SET next_seq = next_seq + 1 WHERE shard = 1",
        ],
    ),
    "a wallet was opened by no fact": Planted(
        "facts",
        "wallet of cid: 0 facts of its opening, 2 of 2 deposits and withdrawals",
        books=["UPDATE facts SET kind = 'Other' WHERE kind = 'AccountOpened' AND player_id = 'cid'"],
    ),
    "a deposit is no fact": Planted(
        "facts",
        "wallet of ann: 1 facts of its opening, 0 of 1 deposits and withdrawals",
        books=["UPDATE facts SET kind = 'Other' WHERE kind = 'FundsMoved' AND player_id = 'ann'"],
    ),
    "a settlement is no fact": Planted(
        "facts",
        "5 settlements, 4 facts of them",
        books=["UPDATE facts SET kind = 'Other' WHERE kind = 'MarketDecided' AND seq = 5"],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_the_checker_names(streamed: Clients, tmp_path: Path, name: str) -> None:
    planted = PLANTED[name]
    await changed(streamed, planted.books)
    planted.seen(streamed)
    found = await verdict(streamed, tmp_path)
    broken = {rule.name: "\n".join(rule.violations) for rule in found.rules if rule.violations}
    assert planted.says in broken.get(planted.rule, ""), broken
    assert not found.ok


async def test_an_instant_of_the_authority_is_cut_off_to_a_millisecond(streamed: Clients, tmp_path: Path) -> None:
    """A bet may be asked for within the millisecond in which its price was withdrawn, and no later."""
    index = streamed.index("open")
    async with superuser(streamed.stores) as connection:
        withdrawn = await connection.fetchval(
            "SELECT in_force_from + interval '1 ms' FROM odds_history"
            " WHERE market_id = 'open' AND odds_version = 2"
        )
    streamed.change("open", sent_at=withdrawn, answered_at=withdrawn)
    assert (await verdict(streamed, tmp_path)).ok
    assert streamed.attempts[index].sent_at == withdrawn
    streamed.change("open", sent_at=withdrawn.replace(microsecond=withdrawn.microsecond + 1))
    assert not (await verdict(streamed, tmp_path)).ok


async def test_books_that_are_not_written_down_are_waited_for(
    streamed: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "WRITTEN_WITHIN_S", 0.2)
    with pytest.raises(CannotCheck, match=r"version 3 of open was not written down in 0\.2 s"):
        await verdict(streamed, tmp_path, {"open": 3, "twice": 1})


def second(at: int, **codes: int) -> Second:
    return Second(t_s=at, step="one", kind=PRICE, offered=100, answered=100, errors=0, codes=codes)


def test_a_price_that_was_pushed_back_breaks_a_rule() -> None:
    assert judge_pushes([second(3), second(4)]).violations == []
    found = judge_pushes([second(3), second(4, **{WENT_BACK: 2}), second(5)])
    assert (found.name, found.checked) == ("pushes", 300)
    assert found.violations == ["2 in second 4 of the run, step one"]
