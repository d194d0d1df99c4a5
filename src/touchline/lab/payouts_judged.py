"""Whether each bet was paid once and rightly: its money followed commit by commit, its payout worked out anew.

Invariant: nothing here is shared with the platform's own settlement; a rule is written twice so that one error is
not made twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import floor
from typing import Any
from uuid import UUID

import msgspec

from touchline.lab.verdicts import Finding, Rule


class ResultOfSelection(msgspec.Struct, frozen=True):
    """What became of a selection, as the books hold it."""

    result: str
    void_factor: str = "0"
    dead_heat_factor: str = "1"


@dataclass(frozen=True, slots=True)
class Decision:
    """A settlement or a void on record; `taken_back` once its rollback is carried out."""

    settlement_id: int
    market_id: str
    kind: str
    results: Mapping[str, ResultOfSelection]
    taken_back: bool


@dataclass(frozen=True, slots=True)
class Move:
    """One transfer; those of one `step` were committed together."""

    step: str
    kind: str
    debit: str
    credit: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedBet:
    """A bet of the books and its money, commit by commit; `user_id` is None where no bet is on record."""

    bet_id: UUID
    user_id: str | None
    market_id: str
    selection_id: str
    odds_milli: int
    stake_minor: int
    idempotency_key: str | None
    status: str
    result: str | None
    payout_minor: int | None
    settlement_id: int | None
    market_status: str
    moves: Sequence[Move]

    def __str__(self) -> str:
        key = "without a key" if self.idempotency_key is None else f"key {self.idempotency_key}"
        return f"bet {self.bet_id} of {self.user_id}, {key}"


def decision_of(row: Mapping[str, Any]) -> Decision:
    """Return the decision of a row of `settlements`."""
    results = msgspec.json.decode(row["results"], type=dict[str, ResultOfSelection])
    return Decision(row["settlement_id"], row["market_id"], row["kind"], results, row["taken_back"])


def worked_bet_of(row: Mapping[str, Any]) -> WorkedBet:
    """Return the bet of a row of `worked_bets`."""
    columns = (row[name] or () for name in ("steps", "kinds", "debits", "credits", "amounts"))
    fields = {name: row[name] for name in WorkedBet.__slots__ if name != "moves"}
    return WorkedBet(**fields, moves=[Move(*cells) for cells in zip(*columns, strict=True)])


def expected(bet: WorkedBet, decision: Decision) -> tuple[str, int]:
    """Return the result and the payout in minor units that a decision gives a bet.

    stake × (void_factor + (1 - void_factor) × result × odds × dead_heat_factor), rounded once, half up; where
    all of the stake is void, the stake itself.
    """
    if decision.kind == "void":
        return "void", bet.stake_minor
    found = decision.results[bet.selection_id]
    void = Fraction(1) if found.result == "void" else Fraction(found.void_factor)
    if void == 1:
        return "void", bet.stake_minor
    won = Fraction(found.result == "won")
    stands = (1 - void) * won * Fraction(bet.odds_milli, 1000) * Fraction(found.dead_heat_factor)
    return found.result, floor(bet.stake_minor * (void + stands) + Fraction(1, 2))


def judge_payout(bet: WorkedBet, decisions: Mapping[int, Decision]) -> Iterator[Finding]:
    """Judge one bet by its money, its record and the decision that it stands under."""
    if bet.user_id is None:
        yield Rule.PAYOUTS, f"bet {bet.bet_id}: money moved for it, but it is not on record"
        return
    paid, wrong = follow(bet)
    yield from ((Rule.PAYOUTS, f"{bet}: {text}") for text in wrong)
    if wrong:
        return
    if bet.status == "PLACED":
        if bet.market_status in ("settled", "void"):
            yield Rule.PAYOUTS, f"{bet}: still open, though {bet.market_id} is {bet.market_status}"
        if paid is not None:
            yield Rule.PAYOUTS, f"{bet}: open by its record, but paid {paid}"
        return
    if paid is None:
        yield Rule.PAYOUTS, f"{bet}: {bet.status} by its record, but never paid"
        return
    decision = decisions.get(bet.settlement_id or 0)
    if decision is None or decision.market_id != bet.market_id or decision.taken_back:
        yield Rule.PAYOUTS, f"{bet}: {bet.status} by settlement {bet.settlement_id}, which does not stand"
        return
    yield from _judge_amount(bet, decision, paid)


def _judge_amount(bet: WorkedBet, decision: Decision, paid: int) -> Iterator[Finding]:
    if decision.kind == "settle" and bet.selection_id not in decision.results:
        yield Rule.PAYOUTS, f"{bet}: settlement {decision.settlement_id} has no result for {bet.selection_id}"
        return
    result, right = expected(bet, decision)
    status = "VOID" if result == "void" else "SETTLED"
    if paid != right:
        yield Rule.PAYOUTS, f"{bet}: paid {paid}, but settlement {decision.settlement_id} makes it {right}"
    elif (bet.status, bet.result, bet.payout_minor) != (status, result, right):
        said = f"{bet.status} {bet.result} {bet.payout_minor}"
        yield Rule.PAYOUTS, f"{bet}: {said} by its record, {status} {result} {right} by its settlement"


def follow(bet: WorkedBet) -> tuple[int | None, list[str]]:
    """Return what the player was paid in the end, None while the bet is open, and every step that may not be.

    A bet's money goes in with the stake, out with a settlement or a refund, and back with a rollback that undoes
    just what stands.
    """
    stake = bet.stake_minor
    staked = False
    paid: int | None = None
    wrong = []
    for _, group in groupby(bet.moves, key=lambda move: move.step):
        moves = list(group)
        kinds = {move.kind for move in moves}
        player, held, house = _net(bet, moves)
        if kinds == {"stake"} and not staked and (player, held, house) == (-stake, stake, 0):
            staked = True
        elif staked and paid is None and _is_decision(kinds, (player, held, house), stake):
            paid = player
        elif kinds == {"rollback"} and paid is not None and (player, held, house) == (-paid, stake, paid - stake):
            paid = None
        elif paid is not None and player > 0:
            wrong.append(f"paid {player} ({_words(kinds)}) after it was paid {paid} already")
        else:
            where = "before its stake" if not staked else "while it is open" if paid is None else f"after {paid}"
            gave = f"the player {player:+}, the stakes {held:+}, the house {house:+}"
            wrong.append(f"{_words(kinds)} {where} gives {gave}")
    if not staked:
        wrong.insert(0, "its stake was never taken")
    return paid, wrong


def _is_decision(kinds: set[str], net: tuple[int, int, int], stake: int) -> bool:
    player, held, house = net
    if kinds == {"refund"}:
        return net == (stake, -stake, 0)
    settled = kinds <= {"stake_released", "payout"} and player >= 0
    return settled and held == -stake and house == stake - player


def _net(bet: WorkedBet, moves: Sequence[Move]) -> tuple[int, int, int]:
    """Return what some transfers give the bet's own player, the stakes and the house."""
    whose = {f"wallet:{bet.user_id}": 0, f"debt:{bet.user_id}": 0, "stakes": 1, "house": 2}
    net = [0, 0, 0]
    for move in moves:
        for account, amount in ((move.credit, move.amount_minor), (move.debit, -move.amount_minor)):
            if account in whose:
                net[whose[account]] += amount
    return net[0], net[1], net[2]


def _words(kinds: set[str]) -> str:
    return " and ".join(sorted(kinds))
