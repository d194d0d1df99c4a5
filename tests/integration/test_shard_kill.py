"""A writer killed again and again under load: no bet that a pod was told of is missing, and no key has two."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from tests.contract.test_ledger_in_shards import bet_on
from tests.ledgers import SECRET, SHARDS, OtherProcess, at
from touchline.adapters.shards import RemoteLedger
from touchline.core.bet import Bet
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.ports import Placed

KILLS, BETTORS, BETS_EACH = 4, 40, 30


async def test_a_writer_killed_under_load_loses_no_bet_and_takes_none_twice(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    process = await OtherProcess.begun(journal=journal)
    addresses = dict(process.addresses)
    pod = RemoteLedger(SHARDS, at(addresses), SECRET)
    market = await process.price()
    told: dict[str, Bet] = {}
    outages = 0

    async def bet(bettor: int) -> None:
        nonlocal outages
        for number in range(BETS_EACH):
            key = f"{bettor}-{number}"
            request = bet_on(market, PlayerId(f"p{bettor}"), key, stake_minor=10)
            while True:
                try:
                    answer = await pod.place(request)
                except Outage:  # as a client does: the same again
                    outages += 1
                    continue
                assert isinstance(answer, Placed)
                told[key] = answer.bet
                break

    load = asyncio.gather(*(bet(bettor) for bettor in range(BETTORS)))
    for kill in range(1, KILLS + 1):
        enough = BETTORS * BETS_EACH * kill // (KILLS + 1) - random.randrange(BETTORS)
        while len(told) < enough:
            await asyncio.sleep(0)
        await process.end()
        process = await OtherProcess.begun(journal=journal)
        addresses.update(process.addresses)
    await load
    await pod.close()
    recorded = await process.bets()
    await process.end()
    assert max(Counter((bet.player_id, bet.idempotency_key) for bet in recorded).values()) == 1
    assert {bet.idempotency_key: bet.bet_id for bet in recorded} == {key: bet.bet_id for key, bet in told.items()}
    assert len(told) == BETTORS * BETS_EACH
