"""What a pod counts of itself, for Prometheus."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from touchline.core.ids import PlayerId

LIVE_WITHIN_S: Final = 10.0  # a poll every 3 s: who was not heard of for three of them has gone
LIVE_USERS_MAX: Final = 100_000
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counters, gauges and histograms in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it so
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "touchline_http_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "touchline_http_request_seconds",
            "From a request's arrival to its answer",
            ["route", "method"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.rejections = Counter(
            "touchline_rejections", "Requests refused, by code", ["route", "code"], registry=self.registry
        )
        self.in_flight = Gauge("touchline_http_in_flight", "Requests being worked", registry=self.registry)
        self.watch(
            "gauge", "touchline_live_users", f"Users heard of within {LIVE_WITHIN_S:g} s", self._live_users
        )
        self._seen: OrderedDict[PlayerId, float] = OrderedDict()

    def watch(self, kind: Literal["gauge", "counter"], name: str, text: str, read: Callable[[], float]) -> None:
        """Expose what `read` returns whenever the metrics are asked for."""
        self.registry.register(_Watched(kind, name, text, read))

    def see(self, player_id: PlayerId) -> None:
        """Count a user as live."""
        self._seen[player_id] = time.monotonic()
        self._seen.move_to_end(player_id)
        if len(self._seen) > LIVE_USERS_MAX:
            self._seen.popitem(last=False)

    def exposition(self) -> tuple[bytes, str]:
        """Return every metric in Prometheus' text format, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _live_users(self) -> float:
        since = time.monotonic() - LIVE_WITHIN_S
        while self._seen and next(iter(self._seen.values())) < since:
            self._seen.popitem(last=False)
        return len(self._seen)


class _Watched(Collector):
    def __init__(self, kind: str, name: str, text: str, read: Callable[[], float]) -> None:
        self._family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        self._name = name
        self._text = text
        self._read = read

    def collect(self) -> Iterable[Metric]:
        yield self._family(self._name, self._text, value=self._read())
