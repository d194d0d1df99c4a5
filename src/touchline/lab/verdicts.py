"""What the checker counts as wrong: one table of rules, and a tally of what broke them.

Invariant: a rule that was broken more often than is told still counts every time.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from touchline.lab.records import Checks, RuleCheck

TOLD_PER_RULE_MAX: Final = 100


class Rule(StrEnum):
    """What must hold after any run, whatever was loaded or killed in it."""

    PRICES = "prices"  # accepted at a price that was current between request and answer, and that was agreed to
    WALLETS = "wallets"  # no wallet was ever below zero
    KEYS = "keys"  # one bet a key, and all answers under a key name it
    PAYOUTS = "payouts"  # each bet of a settled market is paid once, and rightly
    BALANCES = "balances"  # balances and transfers, deposits and the cashier, agree
    ACKNOWLEDGED = "acknowledged"  # a bet that was answered 201 is on record as it was answered
    REFUSED = "refused"  # a bet that was refused is not on record, nor one that nobody asked for
    HISTORY = "history"  # each version of each market is on record, in its order
    FACTS = "facts"  # the log of facts has no gap, and says of bets, wallets and markets what their records say
    PUSHES = "pushes"  # no bettor is shown an older price than before
    REBUILD = "rebuild"  # what is folded from the facts, by the platform's own command, is what stands


STREAM: Final = (Rule.HISTORY, Rule.FACTS)  # where the ledger is a log of facts
BESIDE: Final = (Rule.PUSHES, Rule.REBUILD)  # judged from elsewhere than the books
BOOKS: Final = tuple(rule for rule in Rule if rule not in STREAM + BESIDE)

Finding = tuple[Rule, str]


class Tally:
    """How much was checked under each of `rules`, and what was found."""

    def __init__(self, rules: Sequence[Rule] = BOOKS) -> None:
        self._checked = dict.fromkeys(rules, 0)
        self._broken = dict.fromkeys(rules, 0)
        self._told: dict[Rule, list[str]] = {rule: [] for rule in rules}

    def count(self, rule: Rule, checked: int = 1) -> None:
        """Add to what was checked."""
        self._checked[rule] += checked

    def add(self, findings: Iterable[Finding]) -> None:
        """Add what was found."""
        for rule, text in findings:
            self._broken[rule] += 1
            if len(self._told[rule]) < TOLD_PER_RULE_MAX:
                self._told[rule].append(text)

    def checks(self) -> Checks:
        """Return the verdict."""
        rules = []
        for rule in self._checked:
            told, more = self._told[rule], self._broken[rule] - len(self._told[rule])
            rules.append(RuleCheck(rule.value, self._checked[rule], told + [f"and {more} more"] * (more > 0)))
        return Checks(rules=rules, ok=not any(self._broken.values()))
