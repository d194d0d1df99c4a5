"""What a request says twice: nobody knows which was meant, so nothing is done, against a running platform."""

import json

import pytest

from tests.contract.test_http_refusals import World, assert_refused, world
from touchline.core.errors import Code

AS_JSON = {"Content-Type": "application/json"}
__all__ = ("world",)


@pytest.mark.parametrize(
    ("field", "again"),
    [
        ("stake", b'"stake": "1.00"'),
        ("stake", b'"st\\u0061ke": "1.00"'),
        ("odds", b'"odds": "2.10"'),
        ("odds_version", b'"odds_version":1'),
        ("idempotency_key", b'"idempotency_key" : "a,b"'),
    ],
)
def test_a_bet_that_says_something_twice_is_refused(world: World, field: str, again: bytes) -> None:
    player, market = world.player(), world.market()
    bet = {"market_id": market, "selection_id": "home", "odds": "2.10", "odds_version": 1, "stake": "1.00"}
    once = json.dumps({**bet, "idempotency_key": "a,b"}).encode()
    answer = player.post("/bets", content=once[:-1] + b", " + again + b"}", headers=AS_JSON)
    assert_refused(answer, Code.MALFORMED, field=field)
    assert player.balance == "100.00"
    assert player.post("/bets", content=once, headers=AS_JSON).status_code == 201


def test_results_that_name_a_selection_twice_settle_nothing(world: World) -> None:
    market = world.market()
    results = b'{"results": {"home": "won", "draw": "lost", "away": "lost", "home": "lost"}}'
    answer = world.trader.post(f"/trading/markets/{market}/settle", content=results, headers=AS_JSON)
    assert_refused(answer, Code.MALFORMED, field="home")
    assert world.trader.get(f"/trading/markets/{market}/settlement").json()["status"] == "active"
