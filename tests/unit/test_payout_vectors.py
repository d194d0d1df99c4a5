"""Payouts against vectors of other books, recorded in ../shared/data: every single that the formula speaks of.

What is left out, and counted below: multiples (the platform takes singles), and singles whose payout rests on
something other than result, odds, void and dead-heat factor: best odds guaranteed, a maximum payout, Rule 4. An
each-way single is two singles, the win part and the place part at its share of the odds, where that share is a
whole number of thousandths. market_outcome_status.json and the ranks of units_states_and_place_ranks.json derive
results from scores and places, which is the feed's part and not the core's; accumulators' oracle is no single's.
"""

import csv
import gzip
from collections import Counter, defaultdict
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from tests.samples import outcome
from tests.shared import shared_json, shared_path
from touchline.core.money import format_minor, parse_minor
from touchline.core.price import ODDS_MILLI_MAX
from touchline.core.settlement import Outcome, settled_payout_minor

RESULTS = {"win": "won", "lose": "lost", "placed": "lost", "void": "void", "partial": "won"}
HANDICAP = {
    "win": outcome("won"),
    "half_win": outcome("won", void="1/2"),
    "push": outcome("lost", void="1"),
    "half_loss": outcome("lost", void="1/2"),
    "loss": outcome("lost"),
}


def milli(odds: Fraction) -> int | None:
    """Odds in thousandths, or None where they aren't a whole number of them."""
    scaled = odds * 1_000
    return int(scaled) if scaled.denominator == 1 else None


def minor(text: str) -> int:
    return 0 if Fraction(text) == 0 else parse_minor("stake", text, "EUR")


def left_out(vector: dict[str, Any]) -> str | None:
    """Why a vector is none for the formula, or None."""
    if vector.get("bet_type") != "single":
        return "a multiple" if "bet_type" in vector else "a rank, no bet"
    leg = vector["legs"][0]
    odds = Fraction(leg.get("odds_decimal") or leg["odds_decimal_exact"])
    if leg["result"] == "open":
        return "not decided"
    if "max_payout" in vector or "rule4_percent" in leg:
        return "a cap or Rule 4"
    start = Fraction(leg.get("starting_price_decimal", 0))
    if "best_odds_guaranteed" in vector and leg["result"] == "win" and start > odds:
        return "best odds guaranteed"
    if vector["each_way"] and milli(place_odds(leg, odds)) is None:
        return "place odds finer than a thousandth"
    return None


def place_odds(leg: dict[str, Any], odds: Fraction) -> Fraction:
    return 1 + (odds - 1) * Fraction(leg["each_way_terms"])


def returns(vector: dict[str, Any]) -> str:
    """What our formula pays on a single's vector, as a decimal."""
    leg, stake = vector["legs"][0], minor(vector["unit_stake"])
    odds = Fraction(leg.get("odds_decimal") or leg["odds_decimal_exact"])
    win = outcome(RESULTS[leg["result"]], dead_heat=leg.get("dead_heat_stake_factor", "1"))
    odds_milli = milli(odds)
    assert odds_milli is not None
    paid = settled_payout_minor(stake, odds_milli, win)
    if vector["each_way"]:
        place = outcome("won" if leg["result"] == "placed" else RESULTS[leg["result"]])
        place_milli = milli(place_odds(leg, odds))
        assert place_milli is not None
        paid += settled_payout_minor(stake, place_milli, place)
    return format_minor(paid, "EUR")


def test_singles_pay_what_other_books_pay() -> None:
    reasons: Counter[str] = Counter()
    wrong, seen = {}, 0
    for name in ("accumulators_and_systems", "settlement_modifiers", "units_states_and_place_ranks"):
        for vector in shared_json(f"bet_payout_vectors/{name}.json")["vectors"]:
            reason = left_out(vector)
            if reason:
                reasons[reason] += 1
                continue
            seen += 1
            expected = Decimal(vector["expected"]["returns"])
            if Decimal(returns(vector)) != expected:
                wrong[vector["id"]] = (returns(vector), expected)
    assert wrong == {}
    assert seen == 15
    assert reasons == {
        "a multiple": 211,
        "a rank, no bet": 7,
        "best odds guaranteed": 2,
        "a cap or Rule 4": 1,
        "not decided": 1,
        "place odds finer than a thousandth": 1,
    }


def test_asian_handicaps_pay_halves_by_the_void_factor() -> None:
    vectors = shared_json("bet_payout_vectors/asian_handicap.json")["vectors"]
    wrong = {}
    for vector in vectors:
        odds_milli = milli(Fraction(vector["odds_decimal"]))
        assert odds_milli is not None
        stake = minor(vector["stake"])
        paid = settled_payout_minor(stake, odds_milli, HANDICAP[vector["expected"]["outcome"]])
        if format_minor(paid, "EUR") != vector["expected"]["returns"]:
            wrong[vector["id"]] = (format_minor(paid, "EUR"), vector["expected"])
    assert wrong == {}
    assert Counter(vector["expected"]["outcome"] for vector in vectors).keys() == HANDICAP.keys()


def test_a_backed_winner_of_an_exchange_pays_by_the_dead_heat_factor() -> None:
    wrong, seen = {}, 0
    for vector in shared_json("bet_payout_vectors/exchange_profit.json")["vectors"]:
        if vector["market"] != "WIN" or vector["side"] != "BACK":
            continue  # lay bets, each-way and line markets are none of ours
        seen += 1
        heat = f"1/{vector.get('number_of_dead_heat_winners', 1)}"
        what = outcome("won" if vector["runner_status"] == "WINNER" else "lost", dead_heat=heat)
        odds_milli = milli(Fraction(vector["price"]))
        assert odds_milli is not None
        stake = minor(vector["size"])
        profit = settled_payout_minor(stake, odds_milli, what) - stake
        if Fraction(profit, 100) != Fraction(vector["expected"]["profit"]):
            wrong[vector["id"]] = (profit, vector["expected"])
    assert wrong == {}
    assert seen == 4


def test_dead_heats_of_real_races_pay_each_winner_his_share() -> None:
    path = shared_path("settled_markets/dead_heats_au_racing.csv.gz")
    races = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as lines:
        for row in csv.DictReader(lines):
            races[row["FILE"], row["WIN_MARKET_ID"]].append(row)
    bets = 0
    for runners in races.values():
        winners = sum(row["WIN_RESULT"] == "WINNER" for row in runners)
        assert winners >= 2
        for row in runners:
            odds_milli = milli(Fraction(row["WIN_BSP"])) if row["WIN_BSP"] else None
            if odds_milli is None or not 1_001 <= odds_milli <= ODDS_MILLI_MAX:
                continue
            bets += 1
            won = row["WIN_RESULT"] == "WINNER"
            what: Outcome = outcome("won" if won else "lost", dead_heat=f"1/{winners}")
            # The same sum by other means: decimal arithmetic, each in its own rounding.
            share = Decimal("3.33") * Decimal(row["WIN_BSP"]) / winners if won else Decimal(0)
            expected = int(share.scaleb(2).quantize(Decimal(1), ROUND_HALF_UP))
            assert settled_payout_minor(333, odds_milli, what) == expected, row
    assert len(races) == 213
    assert bets == 1_823  # the rest has no starting price
