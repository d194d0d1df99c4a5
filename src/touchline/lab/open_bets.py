"""Many bets on one market, as fast as the platform takes them: what a settlement is tried on."""

import asyncio
from typing import Final

from touchline.lab.bettors import BET, Bettor, Trade
from touchline.lab.clock import monotonic_s
from touchline.lab.generator import REQUEST_TIMEOUT_S, look_up
from touchline.lab.http_client import HttpClient
from touchline.lab.records import LineWriter
from touchline.lab.samples import Tally
from touchline.lab.scenario import Lab

AT_ONCE: Final = 32
FOREVER_S: Final = float("inf")


async def place_open_bets(lab: Lab, market_id: str, bets: int, *, name: str = "open") -> int:
    """Place `bets` bets on a market from every player in turn, under keys that `name` sets apart from others.

    Returns how many were taken.
    """
    tally = Tally(lab.began_s)
    placed, begun = 0, 0
    client = HttpClient(
        lab.platform.instance.address, connections_max=AT_ONCE, waiting_max=AT_ONCE, timeout_s=REQUEST_TIMEOUT_S
    )
    with LineWriter(lab.history) as history:
        trade = Trade(
            client=client,
            tally=tally,
            history=history,
            run_began_s=lab.began_s,
            ends_s=FOREVER_S,
            keys=f"{lab.keys}-{name}",
        )
        shown = await look_up(client, market_id, lab.players[0])
        seed = f"{lab.run.seed}:open"
        bettors = [
            Bettor(trade, number, player, market_id, shown, seed) for number, player in enumerate(lab.players)
        ]

        async def place_some() -> None:
            nonlocal placed, begun
            while begun < bets:
                bettor = bettors[begun % len(bettors)]
                begun += 1
                await bettor.bet(monotonic_s())
                placed += sum(sample.statuses.get("201", 0) for sample in tally.take() if sample.kind == BET)
                lab.screen.counted("placing open bets", begun, bets)

        try:
            await asyncio.gather(*(place_some() for _ in range(AT_ONCE)))
        finally:
            await client.close()
    return placed
