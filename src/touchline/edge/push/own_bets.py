"""A player's own bets, pushed to him as they are accepted and decided.

Invariant: a bet goes to nobody but its player, by a token that is good at that moment, and as it stands at that
moment; who could not be told of one is told that he missed some, and so is everyone whom the log of facts leaves
and comes back to.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from touchline.core.account import Identity, Role
from touchline.core.bet import Bet
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.facts import BetAccepted, BetDecided, Fact
from touchline.core.ids import BetId, PlayerId
from touchline.edge.push.subscriber import Subscriber
from touchline.ports import Tokens
from touchline.ports.stream import FactLog
from touchline.wire.stream_v1 import ErrorV1, SubscriptionId, own_bet_to_wire, refusal_to_wire

CHANGED_MAX: Final = 10_000  # bets of all players that are still to be read
OWED_MAX: Final = 256  # bets that wait for a player who is slow to read
READS_AT_ONCE_MAX: Final = 8
MISSED: Final = "bets may come late or have been missed: read GET /bets"


class BetReader(Protocol):
    """Where bets are read: `ports.BetStore` is one."""

    async def get(self, player_id: PlayerId, bet_id: BetId) -> Bet | None:
        """See `ports.BetStore`."""


@dataclass(eq=False, slots=True)
class Watch:
    """One connection that is told of its player's bets, for a subscription."""

    subscriber: Subscriber
    subscription_id: SubscriptionId
    token: str
    identity: Identity
    owed: dict[BetId, None] = field(default_factory=dict)


class OwnBets:
    """Who is told of whose bets in this process."""

    def __init__(self, bets: BetReader, tokens: Tokens) -> None:
        self._bets = bets
        self._tokens = tokens
        self._of_player: dict[PlayerId, dict[Watch, None]] = {}
        self._changed: dict[tuple[PlayerId, BetId], None] = {}
        self._missed: dict[Watch, None] = {}
        self._bell = asyncio.Event()
        self._log_is_away = False

    def __len__(self) -> int:
        return sum(map(len, self._of_player.values()))

    def watch(self, subscriber: Subscriber, subscription_id: SubscriptionId, token: str | None) -> Watch:
        """Tell `subscriber` of the bets of the player whom `token` speaks for.

        Raises:
            Rejection: UNAUTHENTICATED or FORBIDDEN: it speaks for no player.
        """
        try:
            identity = self._tokens.verify(token or "")
        except Rejection as refused:
            raise Rejection(refused.code, refused.detail, id=subscription_id) from None
        if identity.role is not Role.PLAYER:
            raise Rejection(Code.FORBIDDEN, f"a {identity.role.value} has no bets", id=subscription_id)
        watch = Watch(subscriber, subscription_id, token or "", identity)
        self._of_player.setdefault(identity.player_id, {})[watch] = None
        if self._log_is_away:
            self._miss([watch])
        return watch

    def leave(self, watch: Watch) -> None:
        """Tell `watch` nothing more."""
        watches = self._of_player.get(watch.identity.player_id, {})
        watches.pop(watch, None)
        self._missed.pop(watch, None)
        if not watches:
            self._of_player.pop(watch.identity.player_id, None)

    def go_on(self, watch: Watch) -> None:
        """Read again what `watch` could not be told: it can be written to now."""
        if watch in self._missed:
            self._bell.set()
        for bet_id in watch.owed:
            self._note(watch.identity.player_id, bet_id)
        watch.owed.clear()

    def check_tokens(self) -> None:
        """End each watch whose token has expired or was revoked."""
        for watches in list(self._of_player.values()):
            for watch in list(watches):
                self._admit(watch)

    async def follow(self, log: FactLog) -> None:
        """Hear from `log` which bets change, for ever.

        Raises:
            Outage: it is away, which those who are told of their bets are told too, then and once it is back.
        """
        try:
            async for facts in log.tail():
                if not facts:  # nobody knows of what was recorded until now
                    self._turn(log_is_away=False)
                self.hear(facts)
        except Outage:
            if not self._log_is_away:
                self._turn(log_is_away=True)
            raise

    def hear(self, facts: Iterable[Fact]) -> None:
        """Take note of the bets that `facts` tell of and that somebody here follows."""
        for fact in facts:
            match fact.body:
                case BetAccepted(bet=bet):
                    self._note(bet.player_id, bet.bet_id)
                case BetDecided(player_id=player_id, bet_id=bet_id):
                    self._note(player_id, bet_id)
                case _:
                    pass

    async def tell(self) -> None:
        """Read the bets that changed and push them, for ever."""
        while True:
            await self._bell.wait()
            await self.tell_changed()

    async def tell_changed(self) -> None:
        """Read the bets that have changed by now and push them.

        Raises:
            Outage: they can't be read; they wait.
        """
        while self._changed:
            some = list(self._changed)[:READS_AT_ONCE_MAX]
            for key in some:
                del self._changed[key]
            read = await asyncio.gather(*(self._bets.get(*key) for key in some), return_exceptions=True)
            failed = [key for key, bet in zip(some, read, strict=True) if isinstance(bet, BaseException)]
            self._changed |= dict.fromkeys(failed)
            for (player_id, _), bet in zip(some, read, strict=True):
                if isinstance(bet, Bet):
                    self._push(player_id, bet)
            for bet in read:
                if isinstance(bet, BaseException):
                    self._tell_missed()
                    raise bet
        self._tell_missed()
        self._bell.clear()

    def _tell_missed(self) -> None:
        for watch in [watch for watch in self._missed if watch.subscriber.writable]:
            del self._missed[watch]
            watch.subscriber.say(ErrorV1(Code.UNAVAILABLE, MISSED, watch.subscription_id))

    def _turn(self, *, log_is_away: bool) -> None:
        self._log_is_away = log_is_away
        self._miss([watch for watches in self._of_player.values() for watch in watches])

    def _note(self, player_id: PlayerId, bet_id: BetId) -> None:
        watches = self._of_player.get(player_id)
        if watches is None:
            return
        if len(self._changed) >= CHANGED_MAX:
            self._miss(watches)
            return
        self._changed[player_id, bet_id] = None
        self._bell.set()

    def _push(self, player_id: PlayerId, bet: Bet) -> None:
        for watch in list(self._of_player.get(player_id, ())):
            if not self._admit(watch):
                continue
            if watch.subscriber.writable:
                watch.subscriber.say(own_bet_to_wire(bet))
            elif len(watch.owed) < OWED_MAX:
                watch.owed[bet.bet_id] = None
            else:
                self._miss([watch])

    def _admit(self, watch: Watch) -> bool:
        try:
            self._tokens.verify(watch.token)
        except Rejection as refused:
            self.leave(watch)
            known = Rejection(refused.code, refused.detail, id=watch.subscription_id)
            watch.subscriber.say(refusal_to_wire(known))
            return False
        return True

    def _miss(self, watches: Iterable[Watch]) -> None:
        self._missed |= dict.fromkeys(watches)
        self._bell.set()
