"""Sessions in Valkey (or Redis): balances for display and pre-check, and how often a player bets.

Invariant: nothing here is authoritative; whatever the cache loses is read again from the books.
"""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, cast

from touchline.adapters.valkey.connection import Part, Valkey
from touchline.adapters.valkey.gathering import Gathering
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.ports import BALANCES_AT_ONCE_MAX, Admission, Balance

MISSED_MAX: Final = 10_000  # players whose sessions may be behind; beyond, a session is until its next balance


class ValkeySessions:
    """The `SessionCache` port. A cache that is away costs `timeout_ms` and an `Outage`, and is tried anew."""

    def __init__(
        self,
        url: str,
        *,
        timeout_ms: int,
        ttl_s: int,
        bets_per_minute_max: int,
        velocity_bets: int,
        velocity_window_ms: int,
    ) -> None:
        self._valkey = Valkey(url, timeout_ms)
        self._admit = self._valkey.script("admit.lua")
        self._keep = self._valkey.script("keep.lua")
        self._admitting = Gathering(self._admit_all)
        self._keeping = Gathering(self._keep_all)
        self._ttl_s = ttl_s
        self._rules = (bets_per_minute_max, velocity_window_ms, ttl_s)
        self._velocity_bets = velocity_bets
        self._missed: set[PlayerId] = set()  # whose balances the cache was not there to take
        self.hits = 0
        self.misses = 0
        self.outages = 0  # looks that the cache did not answer

    async def close(self) -> None:
        """Close every connection."""
        await self._valkey.close()

    async def admit(self, player_id: PlayerId, bet_key: str, now: datetime) -> Admission:
        """See `ports.SessionCache`."""
        look = self._admitting.ask((player_id, int(now.timestamp() * 1000), bet_key))
        wait_ms, fast, *session = await self._look(look)
        return Admission(
            retry_after_s=-(-wait_ms // 1000) if wait_ms else None,
            balance=self._balance_of(session),
            faster_than_a_person=fast >= self._velocity_bets,
        )

    async def withdraw(self, player_id: PlayerId, bet_key: str) -> None:
        """See `ports.SessionCache`."""
        await self._valkey.call("ZREM", f"bets:{player_id}", bet_key)

    async def balance(self, player_id: PlayerId) -> Balance | None:
        """See `ports.SessionCache`."""
        session = self._valkey.call("HMGET", f"session:{player_id}", "balance", "currency", "version")
        return self._balance_of(await self._look(session))

    async def keep(self, balances: Mapping[PlayerId, Balance]) -> None:
        """See `ports.SessionCache`. Once the cache is back, it forgets the sessions that missed a balance."""
        try:
            if len(balances) == 1:
                await self._keeping.ask(next(iter(balances.items())))
            elif balances:
                await self._keep_all(list(balances.items()))
        except Outage:
            self._missed.update(islice(balances, MISSED_MAX - len(self._missed)))
            raise
        if self._missed:
            behind = list(islice(self._missed, BALANCES_AT_ONCE_MAX))
            await self._valkey.call("DEL", *(f"session:{player_id}" for player_id in behind))
            self._missed.difference_update(behind)

    async def _admit_all(self, bets: Sequence[tuple[PlayerId, int, str]]) -> Sequence[list[Any]]:
        keys, args = list[str](), list[Part](self._rules)
        for player_id, at_ms, bet_key in bets:
            keys += (f"bets:{player_id}", f"session:{player_id}")
            args += (at_ms, bet_key)
        answers: list[list[Any]] = await self._admit(keys, args)
        return answers

    async def _keep_all(self, balances: Sequence[tuple[PlayerId, Balance]]) -> Sequence[None]:
        args: list[Part] = [self._ttl_s]
        for _, balance in balances:
            args += (balance.balance_minor, balance.currency, balance.version)
        await self._keep([f"session:{player_id}" for player_id, _ in balances], args)
        return [None] * len(balances)

    async def _look(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except Outage:
            self.outages += 1
            raise

    def _balance_of(self, session: list[bytes | None]) -> Balance | None:
        # A script's answer ends at its first nil, so a missing session is short as well as empty.
        if len(session) < 3 or None in session:
            self.misses += 1
            return None
        self.hits += 1
        balance, currency, version = cast(list[bytes], session)
        return Balance(int(balance), currency.decode(), int(version))
