"""What workers count, and what a process reads of the servers when it is asked for its metrics.

Invariant: a scrape waits `READ_WAIT_S` at most, whatever the server does, and what can't be read is left out
rather than told as it was.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any, Final, Generic, TypeVar, get_args

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from touchline.adapters.postgres.activity import Activity
from touchline.adapters.valkey.activity import ValkeyActivity
from touchline.core.errors import Outage
from touchline.core.feed import AnyMessage
from touchline.core.settlement import Settlement, SettlementKind
from touchline.ports import Clock
from touchline.ports.stream import FactLog

SETTLEMENT_SECONDS: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
READ_WAIT_S: Final = 0.5
READ_EVERY_S: Final = 1.0

Read = TypeVar("Read")


class FeedMeters(Collector):
    """The `FeedMeter` port."""

    def __init__(self, clock: Clock) -> None:
        self._messages = messages = Counter(
            "touchline_feed_messages", "Feed messages, by what became of them", ["kind", "outcome"], registry=None
        )
        self._counters: dict[tuple[type, bool], Any] = {
            (kind, applied): messages.labels(_snake(kind.__name__), "applied" if applied else "ignored")
            for kind in get_args(AnyMessage)
            for applied in (True, False)
        }
        self._heard_at = Gauge(
            "touchline_feed_heard_timestamp_seconds", "When the last message came; 0 before any", registry=None
        )
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Yield what was counted."""
        return (*self._messages.collect(), *self._heard_at.collect())

    def heard(self, message: AnyMessage, applied: bool) -> None:
        """See `ports.FeedMeter`."""
        self._counters[type(message), applied].inc()
        self._heard_at.set(self._clock.now().timestamp())


class SettlementMeters(Collector):
    """The `SettlementMeter` port."""

    def __init__(self) -> None:
        bets = Counter("touchline_settlement_bets", "Bets worked", ["kind"], registry=None)
        seconds = Histogram(
            "touchline_settlement_seconds",
            "From a settlement's request to its last bet",
            ["kind"],
            buckets=SETTLEMENT_SECONDS,
            registry=None,
        )
        self._last = Gauge(
            "touchline_settlement_last_seconds", "How long the last finished settlement took", registry=None
        )
        self._metrics = (bets, seconds, self._last)
        self._bets: dict[SettlementKind, Any] = {kind: bets.labels(kind.value) for kind in SettlementKind}
        self._seconds: dict[SettlementKind, Any] = {kind: seconds.labels(kind.value) for kind in SettlementKind}

    def collect(self) -> Iterable[Metric]:
        """Yield what was counted."""
        return [family for metric in self._metrics for family in metric.collect()]

    def worked(self, settlement: Settlement, bets: int) -> None:
        """See `ports.SettlementMeter`."""
        self._bets[settlement.kind].inc(bets)

    def finished(self, settlement: Settlement, at: datetime) -> None:
        """See `ports.SettlementMeter`."""
        seconds = (at - settlement.requested_at).total_seconds()
        self._seconds[settlement.kind].observe(seconds)
        self._last.set(seconds)


class OnScrape(Collector, Generic[Read]):
    """What is read when it is asked for, `READ_EVERY_S` apart at least."""

    def __init__(self, read: Callable[[], Awaitable[Read]]) -> None:
        self._read = read
        self._reading: asyncio.Task[Read | None] | None = None
        self._began = -READ_EVERY_S
        self._last: Read | None = None  # None where that failed

    async def refresh(self) -> None:
        """Read anew where that is due, one reading at a time; one that takes too long is not waited for."""
        if self._reading is None:
            if monotonic() - self._began < READ_EVERY_S:
                return
            self._began = monotonic()
            self._reading = asyncio.create_task(self._try())
        reading = self._reading
        await asyncio.wait({reading}, timeout=READ_WAIT_S)
        if not reading.done():
            self._last = None
        elif reading is self._reading:
            self._reading = None
            self._last = reading.result()

    async def _try(self) -> Read | None:
        try:
            return await self._read()
        except Outage:
            return None


class ServerMeters(OnScrape[Activity]):
    """What PostgreSQL says of itself and of settlement."""

    def collect(self) -> Iterable[Metric]:
        """Yield what was read last; where that failed, no more than that it did."""
        activity = self._last
        yield GaugeMetricFamily("touchline_db_up", "Whether PostgreSQL answers", value=activity is not None)
        if activity is None:
            return
        states = GaugeMetricFamily(
            "touchline_db_server_connections", "Connections of everybody, by what they do", labels=["state"]
        )
        for state, count in activity.connections.items():
            states.add_metric([state], count)
        yield states
        for name, text, value in (
            ("db_server_connections_max", "Connections the server takes", activity.connections_max),
            ("settlements_unfinished", "Settlements with bets still to work", activity.unfinished),
            ("settlement_bets_wanted", "Bets of unfinished settlements that are begun", activity.bets_wanted),
            ("settlement_bets_done", "... of which worked", activity.bets_done),
            ("settlement_oldest_seconds", "How long the oldest unfinished waits; 0: none", activity.oldest_s),
            ("settlement_overdue_seconds", "Since an event with open bets ended; 0: none", activity.overdue_s),
            ("dead_letters", "Settlements that could not be carried out", activity.dead_letters),
        ):
            yield GaugeMetricFamily(f"touchline_{name}", text, value=value)


class LogMeters(OnScrape[Mapping[tuple[str, str], int]]):
    """How many facts readers have before them, by the reader's group and what holds its log."""

    def __init__(self, logs: Mapping[tuple[str, str], FactLog]) -> None:
        super().__init__(self._read_all)
        self._logs = logs

    async def _read_all(self) -> Mapping[tuple[str, str], int]:
        """Return what can be read: of a log that is away, nothing."""
        found = {}
        for (reader, holder), log in self._logs.items():
            with suppress(Outage):
                found[reader, holder] = await log.unread(reader)
        return found

    def collect(self) -> Iterable[Metric]:
        """Yield what was read last."""
        family = GaugeMetricFamily("touchline_facts_unread", "Facts to be read", labels=["reader", "log"])
        for labels, unread in (self._last or {}).items():
            family.add_metric(labels, unread)
        yield family


class ValkeyMeters(OnScrape[Mapping[str, ValkeyActivity | None]]):
    """What each Valkey says of itself; `server` is what it is for."""

    def collect(self) -> Iterable[Metric]:
        """Yield what was read last; of a server that gave no answer, no more than that."""
        servers = self._last or {}
        yield _by_server("up", "Whether it answers", {name: told is not None for name, told in servers.items()})
        known = {name: told for name, told in servers.items() if told is not None}
        for figure, text in (
            ("clients", "Connections of everybody"),
            ("memory_bytes", "Memory used"),
            ("memory_max_bytes", "... at most; 0: no bound"),
        ):
            yield _by_server(figure, text, {name: getattr(told, figure) for name, told in known.items()})
        for figure, text in (
            ("hits", "Reads of keys that were there"),
            ("misses", "... that were not"),
            ("evicted", "Keys forgotten for want of memory"),
        ):
            family = CounterMetricFamily(f"touchline_valkey_{figure}", text, labels=["server"])
            for name, told in known.items():
                family.add_metric([name], getattr(told, figure))
            yield family


def _by_server(figure: str, text: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"touchline_valkey_{figure}", text, labels=["server"])
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def _snake(name: str) -> str:
    """Return a class's name as a message's `kind` on the wire."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
