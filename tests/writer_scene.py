"""Books with one market and two players, and the writer of a shard of theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.ledger_scene import authority_of, written
from tests.samples import HOME, MARKET
from tests.scene import RULES, Stores, bet_on, open_player, postgres_stores, price, superuser
from touchline.adapters.postgres.shards import PostgresShard
from touchline.core.bet import PlaceBet
from touchline.core.ids import PlayerId
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.write_shard import ShardWriter

BOB, ANN = PlayerId("ann"), PlayerId("bob")  # the first is in shard 2 of two, the second in shard 1


@asynccontextmanager
async def books(dsn: str) -> AsyncIterator[Stores]:
    """V0's stores, to prepare the books with and to read them."""
    async with postgres_stores(dsn) as made:
        await price(made)
        for name in (ANN, BOB):
            await open_player(made, name)
        yield made


@asynccontextmanager
async def ledger_over(stores: Stores, authority: Any = None, **sizes: Any) -> AsyncIterator[LocalLedger]:
    """A ledger of one shard."""
    assert stores.dsn is not None
    store = PostgresShard(stores.dsn, 1, 1)
    writer = ShardWriter(store, authority or authority_of(stores.markets), RULES, stores.clock, **sizes)
    async with written(LocalLedger([writer], 1)) as ledger:
        yield ledger


async def request(stores: Stores, player: PlayerId = ANN, stake: int = 1_000, key: str | None = None) -> PlaceBet:
    market = await stores.markets.get(MARKET)
    assert market is not None
    return bet_on(stores, market, player, HOME, stake, key)


async def count(stores: Stores, table: str) -> int:
    async with superuser(stores) as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
