"""What must hold beside the money where prices are pushed and the ledger is a log of facts.

Invariant: facts are judged by their columns and their numbers; what is in them, the platform's own
`rebuild --verify` folds, and its word is a rule of its own.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from touchline.lab.bettors import WENT_BACK
from touchline.lab.clock import monotonic_s
from touchline.lab.records import PRICE, RuleCheck, Second
from touchline.lab.statements import read_statements
from touchline.lab.verdicts import Rule, Tally

ROWS_AT_ONCE: Final = 2_000
LOOK_S: Final = 0.1
_SQL: Final = read_statements("checker_stream.sql")


async def versions_missing(books: Any, versions: Mapping[str, int], within_s: float) -> dict[str, int]:
    """Wait until the history holds `versions`, each of its market; return what it lacks after `within_s`."""
    until_s = monotonic_s() + within_s
    while True:
        rows = await books.fetch(_SQL["written"], list(versions))
        written = {row["market_id"]: row["odds_version"] for row in rows}
        missing = {market: version for market, version in versions.items() if written.get(market, 0) < version}
        if not missing or monotonic_s() >= until_s:
            return missing
        await asyncio.sleep(LOOK_S)


async def judge_history(books: Any, tally: Tally) -> None:
    """Judge what the odds' authority has written down of its versions."""
    tally.count(Rule.HISTORY, await books.fetchval(_SQL["versions"]))
    async for row in books.cursor(_SQL["versions_out_of_order"], prefetch=ROWS_AT_ONCE):
        version = f"version {row['odds_version']} of {row['market_id']}"
        if row["odds_version"] != row["before"] + 1:
            tally.add([(Rule.HISTORY, f"{version} comes after version {row['before']}")])
        else:
            instants = f"from {row['in_force_from']}, the one before from {row['earlier']}"
            tally.add([(Rule.HISTORY, f"{version} is in force {instants}")])


async def judge_facts(books: Any, tally: Tally) -> None:
    """Judge the log of facts by its numbers, and beside the records that were made with it."""
    tally.count(Rule.FACTS, await books.fetchval(_SQL["facts"]))
    async for row in books.cursor(_SQL["shards_with_gaps"]):
        span = f"{row['facts']} from {row['first']} to {row['last']}, the next is numbered {row['next_seq']}"
        tally.add([(Rule.FACTS, f"shard {row['shard']} has gaps: {span}")])
    async for row in books.cursor(_SQL["late_writes"], prefetch=ROWS_AT_ONCE):
        late = f"epoch {row['epoch']} after epoch {row['newer']}"
        tally.add([(Rule.FACTS, f"fact {row['seq']} of shard {row['shard']} is of a replaced writer: {late}")])
    async for row in books.cursor(_SQL["bets_unlike_facts"], prefetch=ROWS_AT_ONCE):
        tally.add([(Rule.FACTS, f"bet {row['bet_id']} of {row['user_id']}, {_bet_told(row)}")])
    async for row in books.cursor(_SQL["players_unlike_facts"], prefetch=ROWS_AT_ONCE):
        told = f"{row['opened']} facts of its opening, {row['moved']} of {row['moves']} deposits and withdrawals"
        tally.add([(Rule.FACTS, f"wallet of {row['user_id']}: {told}")])
    counts = await books.fetchrow(_SQL["decisions"])
    if counts["settlements"] != counts["facts"]:
        tally.add([(Rule.FACTS, f"{counts['settlements']} settlements, {counts['facts']} facts of them")])


def _bet_told(row: Mapping[str, Any]) -> str:
    key = "without a key" if row["idempotency_key"] is None else f"key {row['idempotency_key']}"
    decided = f"{row['decided']} of its decisions, its money moved by {row['steps']}"
    return f"{key}: {row['accepted']} facts of its acceptance, {decided}"


def judge_pushes(prices: Iterable[Second]) -> RuleCheck:
    """Return whether any bettor was shown an older price than before."""
    seen, violations = 0, []
    for second in prices:
        if second.kind == PRICE:
            seen += second.offered
            back = second.codes.get(WENT_BACK, 0)
            if back:
                violations.append(f"{back} in second {second.t_s} of the run, step {second.step}")
    return RuleCheck(Rule.PUSHES.value, seen, violations)
