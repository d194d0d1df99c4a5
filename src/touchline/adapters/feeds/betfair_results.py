"""The results of a closed Betfair market, from its last definition.

Invariant: a market has results for every selection ever told of it, or none at all.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from touchline.adapters.feeds.betfair_lines import Definition, Runner, selection_id
from touchline.core.bet import BetResult
from touchline.core.feed import PricedSelection
from touchline.core.ids import SelectionId
from touchline.core.settlement import VOIDED, Outcome, Results

REMOVED: Final = frozenset({"REMOVED", "REMOVED_VACANT"})
VOID_AT_CLOSE: Final = REMOVED | {"HIDDEN"}


def results_of(definition: Definition, known: Sequence[PricedSelection]) -> Results | None:
    """Return the result of every selection of a closed market; None while the market is open or a result lacks.

    Where more runners won than `numberOfWinners`, they tie: each is paid that part of its odds (Betfair's rules,
    "Dead heat"). A selection that the last definition no longer names is void.
    """
    if definition.status != "CLOSED" or any(runner.status == "ACTIVE" for runner in definition.runners):
        return None
    results: dict[SelectionId, Outcome] = {each.selection_id: VOIDED for each in known}
    for runner in definition.runners:
        results[selection_id(runner.id, runner.hc)] = _outcome(definition, runner)
    return results or None


def _outcome(definition: Definition, runner: Runner) -> Outcome:
    if runner.status in VOID_AT_CLOSE:
        return VOIDED
    if runner.status == "LOSER":
        return Outcome(BetResult.LOST)
    if definition.betting_type == "EACH_WAY":
        return _each_way(definition, runner)
    if definition.betting_type in (None, "ODDS"):
        return Outcome(BetResult.WON, dead_heat_factor=_share(definition, "WINNER"))
    return Outcome(BetResult.WON)  # of a handicap market every line has winners of its own


def _each_way(definition: Definition, runner: Runner) -> Outcome:
    """Return what an each-way bet pays as factors of its whole stake, half of which is on the place.

    The place part pays 1 + (odds - 1) / divisor, so a stake of 1 returns a + b × odds; in the settlement rule's
    terms a is the void factor and b / (1 - a) the factor on the odds.
    """
    divisor = Fraction(definition.each_way_divisor or 1)
    place = _share(definition, "WINNER", "PLACED")
    won = Fraction(0)
    if runner.status == "WINNER":  # `numberOfWinners` counts the places: one wins, more tie
        won = Fraction(1, sum(each.status == "WINNER" for each in definition.runners))
    fixed = place * (divisor - 1) / (2 * divisor)
    on_odds = won / 2 + place / (2 * divisor)
    return Outcome(BetResult.WON, void_factor=fixed, dead_heat_factor=on_odds / (1 - fixed))


def _share(definition: Definition, *statuses: str) -> Fraction:
    expected = definition.number_of_winners or 0
    winners = sum(runner.status in statuses for runner in definition.runners)
    return Fraction(expected, winners) if 0 < expected < winners else Fraction(1)
