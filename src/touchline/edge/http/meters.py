"""What a process counts of itself, for Prometheus.

Invariant: what a request costs here is an addition or two; every label is looked up once, and comes from a table
of ours, never from what a stranger sends.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from touchline.core.errors import Code
from touchline.core.ids import PlayerId
from touchline.ports import LIVE_STEP_S, LIVE_WITHIN_S

HEARD_AT_ONCE_MAX: Final = 10_000  # players between two takings; more are not counted as live
TAKINGS_KEPT: Final = LIVE_WITHIN_S // LIVE_STEP_S
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counters, gauges and histograms in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it so
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._routes = _Routes()
        self.registry.register(self._routes)
        self._before_scrape: list[Callable[[], Awaitable[None]]] = []
        self.audience = Audience()
        self.bets_placed = 0  # new bets on record: a retry is none

    def route(self, route: str, method: str, statuses: Sequence[int], codes: Sequence[Code]) -> "RouteMeter":
        """Return the meter of one operation; the answers it is known to give count from 0."""
        meter = RouteMeter(statuses, codes)
        self._routes.meters[route, method] = meter
        return meter

    def watch(self, kind: Literal["gauge", "counter"], name: str, text: str, read: Callable[[], float]) -> None:
        """Expose what `read` returns whenever the metrics are asked for."""
        self.registry.register(_Watched(kind, name, text, read))

    def expose_players(self) -> None:
        """Expose who is about and what they bet: in a process that answers them."""
        about = f"Players heard of within {LIVE_WITHIN_S} s"
        self.watch("gauge", "touchline_live_users", about, self.audience.live)
        self.watch("counter", "touchline_bets_placed", "Bets put on record", lambda: self.bets_placed)

    def include(self, collector: Collector, refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        """Expose what `collector` collects, after `refresh`, which neither waits long nor fails."""
        self.registry.register(collector)
        if refresh is not None:
            self._before_scrape.append(refresh)

    async def exposition(self) -> tuple[bytes, str]:
        """Return every metric in Prometheus' text format, and its content type."""
        for refresh in self._before_scrape:
            await refresh()
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class RouteMeter:
    """What is counted of one operation: its `statuses` and `codes` from 0, so that the first is seen as a rise."""

    def __init__(self, statuses: Sequence[int], codes: Sequence[Code]) -> None:
        self.statuses = dict.fromkeys(statuses, 0)
        self.codes = dict.fromkeys(codes, 0)
        self.within = [0] * (len(SECONDS) + 1)  # answers by the first of `SECONDS` that they took at most
        self.seconds = 0.0

    def count(self, status: int, refused: Code | None, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.within[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds
        if refused is not None:
            self.codes[refused] = self.codes.get(refused, 0) + 1


class Audience:
    """Which players are about: those that one pod hears of, and how many all pods together count."""

    def __init__(self) -> None:
        self._heard: set[PlayerId] = set()
        self._earlier: deque[set[PlayerId]] = deque(maxlen=TAKINGS_KEPT)
        self._of_all_pods: int | None = None

    def hear(self, player_id: PlayerId) -> None:
        """Take note of a player."""
        if len(self._heard) < HEARD_AT_ONCE_MAX:
            self._heard.add(player_id)

    def take(self) -> set[PlayerId]:
        """Return whom this pod heard of since it was asked last."""
        taken, self._heard = self._heard, set()
        self._earlier.append(taken)
        return taken

    def tell(self, of_all_pods: int | None) -> None:
        """Take in how many players all pods count; None where nobody knows."""
        self._of_all_pods = of_all_pods

    def live(self) -> int:
        """Return how many players are about; where the pods' count is not known, those that this pod heard of."""
        if self._of_all_pods is not None:
            return self._of_all_pods
        return len(self._heard.union(*self._earlier))


class _Routes(Collector):
    def __init__(self) -> None:
        self.meters: dict[tuple[str, str], RouteMeter] = {}

    def collect(self) -> Iterable[Metric]:
        named = ["route", "method"]
        requests = CounterMetricFamily("touchline_http_requests", "Requests answered", labels=[*named, "status"])
        seconds = HistogramMetricFamily(
            "touchline_http_request_seconds", "From a request's arrival to its answer", labels=named
        )
        refusals = CounterMetricFamily(
            "touchline_rejections", "Requests refused, by code", labels=[*named, "code"]
        )
        bounds = [*map(str, SECONDS), "+Inf"]
        for route, meter in self.meters.items():
            for status, count in meter.statuses.items():
                requests.add_metric([*route, str(status)], count)
            within = map(float, accumulate(meter.within))
            seconds.add_metric(route, list(zip(bounds, within, strict=True)), meter.seconds)
            for code, count in meter.codes.items():
                refusals.add_metric([*route, code.value], count)
        return requests, seconds, refusals


class _Watched(Collector):
    def __init__(self, kind: str, name: str, text: str, read: Callable[[], float]) -> None:
        self._family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        self._name = name
        self._text = text
        self._read = read

    def collect(self) -> Iterable[Metric]:
        yield self._family(self._name, self._text, value=self._read())
