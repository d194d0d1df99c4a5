"""The `Books` contract, on memory and on PostgreSQL."""

from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import HOME_WINS, Stores, bet_on, move, open_player, placed, price, work_all
from touchline.core.ids import MarketId
from touchline.core.ledger import TransferKind

NOTHING = {
    "bets": 0,
    "open_bets": 0,
    "transfers": 0,
    "wallets": 0,
    "debts": 0,
    "stakes": 0,
    "house": 0,
    "cashier": 0,
}


async def test_empty_books_balance(stores: Stores) -> None:
    assert await stores.books.discrepancies() == []
    assert await stores.books.sums() == NOTHING


async def test_books_balance_at_each_step_of_a_markets_life(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    other = await price(stores, market_id=MarketId("other"))
    for selection, stake in ((HOME, 1_000), (DRAW, 999), (AWAY, 501)):
        await placed(stores, bet_on(stores, market, ann, selection, stake))
    await placed(stores, bet_on(stores, other, ann, stake=700))
    await move(stores, ann, 5_000, "out", TransferKind.WITHDRAWAL)
    assert await stores.books.sums() == {
        "bets": 4,
        "open_bets": 4,
        "transfers": 6,
        "wallets": 91_800,
        "debts": 0,
        "stakes": 3_200,
        "house": 0,
        "cashier": -95_000,
    }
    await stores.trading.settle(MARKET, HOME_WINS)
    assert await stores.books.discrepancies() == []  # decided, and nothing carried out yet
    await work_all(stores)
    assert await stores.books.discrepancies() == []
    sums = await stores.books.sums()
    assert (sums["wallets"], sums["stakes"], sums["house"]) == (93_800, 700, 500)
    assert sums["wallets"] - sums["debts"] + sums["stakes"] + sums["house"] + sums["cashier"] == 0
