"""What a running platform tells of itself: as documented, as true, and as Prometheus and Grafana ask for it."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.callers import Caller, change_odds, feed_message, log_in, new_market, new_player
from tests.clock import HandClock
from tests.platforms import OwnPlatform
from tests.prometheus import Prometheus, Query, dashboard_queries, grouped_by, prometheus, selectors
from tests.samples import EVENT, MARKET
from tests.scene import HOME_WINS, Stores, bet_on, open_player, placed, postgres_stores, price, work_all
from tests.settling_scene import Scene, at_work, settling_scene
from touchline.adapters.kafka.cluster import Cluster
from touchline.adapters.kafka.fact_log import KafkaFactLog
from touchline.adapters.postgres.activity import read_activity
from touchline.adapters.postgres.database import Database
from touchline.core.event import EventStatus
from touchline.core.feed import FixtureChange
from touchline.core.ids import MarketId, MessageId
from touchline.edge.metering import LogMeters

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*)\| ([a-z, ]+) \|", re.M)
SEEN_TIMEOUT_S = 60
BETS_TAKEN, BETS_REFUSED = 3, 2
OTHER_MARKET = MarketId("other")

Sample = dict[str, tuple[str, frozenset[str]]]


def fed_by_the_demo(folder: Path, **settings: str) -> Iterator[OwnPlatform]:
    """A platform for a while, in `folder`, where deploy/prometheus looks for one."""
    folder.mkdir(mode=0o711)
    own = OwnPlatform(folder / ".touchline", settings=settings)
    own.up("--feed", "demo")
    yield own
    own.remove()


@pytest.fixture(scope="module")
def watched(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform with every kind of part."""
    yield from fed_by_the_demo(servers_dir / "watched", bets_per_minute_max="1000")


@pytest.fixture(scope="module")
def http(watched: OwnPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=watched.address, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def players(http: httpx.Client) -> list[Caller]:
    """Three players; the first has bet, was refused, and was paid."""
    made = [new_player(http) for _ in range(3)]
    feed = log_in(http, "feed")
    market_id = new_market(feed)
    for _ in range(BETS_TAKEN):
        assert made[0].place(market_id).status_code == 201
    assert made[0].place(market_id, idempotency_key="twice").status_code == 201
    assert made[0].place(market_id, idempotency_key="twice").headers["idempotent-replay"] == "true"
    change_odds(feed, market_id, home="2.50")
    for _ in range(BETS_REFUSED):
        assert made[0].place(market_id).json()["code"] == "ODDS_CHANGED"
    results = {"home": "won", "draw": "lost", "away": "lost"}
    message = feed_message(
        "bet_settlement", event_id=market_id.partition(":")[0], market_id=market_id, results=results
    )
    assert feed.post("/feed/messages", [message]).json() == {"applied": 1, "ignored": 0}
    return made


@pytest.fixture(scope="module")
def watching(watched: OwnPlatform, players: list[Caller]) -> Iterator[Prometheus]:
    """A Prometheus that has scraped every part a few times."""
    with prometheus(watched.data_dir.parent) as server:
        wanted = len(targets(watched))
        until(
            players,
            lambda: (
                len(server.query("count_over_time(up[1m]) >= 4 and up == 1")) == wanted
                and all(rule["health"] != "unknown" for rule in rules_of(server))
                and bool(server.query("touchline:bets:seconds_p99"))
            ),
        )
        yield server


def until(players: list[Caller], holds: Callable[[], bool]) -> None:
    """Let the players poll and look at their balance until something holds."""
    deadline = monotonic() + SEEN_TIMEOUT_S
    while monotonic() < deadline:
        for player in players:
            assert player.get("/odds").status_code == 200
            assert player.get("/account/balance").status_code == 200
        assert players[0].place("no-such-market").status_code == 404
        if holds():
            return
    raise AssertionError("it never held")


@pytest.fixture(scope="module")
def streaming(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform that pushes prices, with every kind of part but the relay."""
    yield from fed_by_the_demo(servers_dir / "streaming", architecture="stream")


@pytest.fixture(scope="module")
def watching_stream(streaming: OwnPlatform) -> Iterator[Prometheus]:
    """A Prometheus that has scraped every part of it a few times, with a bet on record."""
    with httpx.Client(base_url=streaming.address, timeout=30) as client:
        feed, player = log_in(client, "feed"), new_player(client)
        assert player.place(new_market(feed)).status_code == 201
        with prometheus(streaming.data_dir.parent) as server:
            wanted = len(targets(streaming))
            until(
                [player],
                lambda: (
                    len(server.query("count_over_time(up[1m]) >= 4 and up == 1")) == wanted
                    and all(rule["health"] != "unknown" for rule in rules_of(server))
                    and bool(server.query("touchline:valkey:hit_ratio"))
                ),
            )
            yield server


@pytest.fixture(scope="module")
def mitigated(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform with the mitigations that have metrics on the dashboard; polls of a cache read no replica."""
    yield from fed_by_the_demo(servers_dir / "mitigated", odds_breaker="true", read_replica="own")


@pytest.fixture(scope="module")
def watching_mitigated(mitigated: OwnPlatform) -> Iterator[Prometheus]:
    """A Prometheus that has scraped every part of it a few times."""
    with httpx.Client(base_url=mitigated.address, timeout=30) as client:
        player = new_player(client)
        with prometheus(mitigated.data_dir.parent) as server:
            wanted = len(targets(mitigated))
            until([player], lambda: len(server.query("count_over_time(up[1m]) >= 4 and up == 1")) == wanted)
            yield server


def rules_of(server: Prometheus) -> list[dict[str, Any]]:
    """Every rule as the server has it."""
    return [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]


def targets(platform: OwnPlatform) -> dict[str, tuple[str, str]]:
    """Role and address of each part that Prometheus is told of."""
    groups = json.loads(platform.data_dir.joinpath("prometheus.json").read_bytes())
    return {group["labels"]["part"]: (group["labels"]["role"], *group["targets"]) for group in groups}


def exposed(address: str) -> Sample:
    """What a part exposes: type and labels by name, as docs/metrics.md tells them."""
    found: Sample = {}
    for family in text_string_to_metric_families(httpx.get(f"http://{address}/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, frozenset(labels))
    return found


def documented(role: str, text: str) -> Sample:
    """What docs/metrics.md tells of a role."""
    found: Sample = {}
    for name, kind, labels, roles in ROW.findall(text):
        if roles == "all" or role in roles.split(", "):
            assert name not in found
            found[name] = (kind, frozenset(re.findall(r"`(\w+)`", labels)))
    return found


def test_every_part_exposes_what_is_documented_and_nothing_else(watched: OwnPlatform) -> None:
    always, _, _ = documents()
    parts = targets(watched)
    assert {name: role for name, (role, _) in parts.items()} == {
        "pod-1": "pod",
        "pod-2": "pod",
        "feed": "feed",
        "settlement": "settlement",
    }
    for part, (role, address) in parts.items():
        assert exposed(address) == documented(role, always), part


def test_every_part_of_a_stream_exposes_what_is_documented_and_nothing_else(streaming: OwnPlatform) -> None:
    always, _, with_stream = documents()
    parts = targets(streaming)
    assert {role for role, _ in parts.values()} == {"pod", "gateway", "writer", "history", "feed", "settlement"}
    for part, (role, address) in parts.items():
        assert exposed(address) == documented(role, always + with_stream), part


def test_every_part_with_mitigations_exposes_what_is_documented_and_nothing_else(mitigated: OwnPlatform) -> None:
    always, with_setting, _ = documents()
    with_setting = re.sub(r"^.*`touchline_odds_cache_.*$", "", with_setting, flags=re.M)
    for part, (role, address) in targets(mitigated).items():
        assert exposed(address) == documented(role, always + with_setting), part


def documents() -> tuple[str, str, str]:
    """What docs/metrics.md tells of every platform, of some settings, and of `stream`."""
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    always, one, rest = text.partition("## With a setting")
    with_setting, other, with_stream = rest.partition("## With `stream`")
    assert one
    assert other
    return always, with_setting, with_stream


def test_each_valkey_tells_of_itself(watching: Prometheus, watching_stream: Prometheus) -> None:
    for server, names in ((watching, {"sessions"}), (watching_stream, {"sessions", "odds"})):
        for figure in ("up", "clients", "memory_bytes", "hits_total"):
            found = server.query(f"touchline_valkey_{figure} > 0")
            assert {sample["metric"]["server"] for sample in found} == names, figure


def test_what_a_stranger_makes_up_becomes_no_label(watched: OwnPlatform, http: httpx.Client) -> None:
    assert http.get("/odds/made/up").status_code == 404
    assert http.request("PROPFIND", "/bets").status_code == 405
    assert http.get("/odds/made-up").status_code == 401
    for _, address in targets(watched).values():
        text = httpx.get(f"http://{address}/metrics").text
        assert "made" not in text
        assert "PROPFIND" not in text


def test_counts_are_those_of_what_happened(watching: Prometheus, players: list[Caller]) -> None:
    rejections = 'sum(touchline_rejections_total{route="/bets",method="POST",code="ODDS_CHANGED"})'
    assert watching.value("sum(touchline_bets_placed_total)") == BETS_TAKEN + 1
    assert watching.value(rejections) == BETS_REFUSED
    assert watching.value('sum(touchline_http_requests_total{route="/bets",status="201"})') == BETS_TAKEN + 2
    assert watching.value('sum(touchline_settlement_bets_total{kind="settle"})') == BETS_TAKEN + 1
    assert watching.value('sum(touchline_settlement_seconds_count{kind="settle"}) >= 1') is not None
    assert watching.value("sum(touchline_settlements_unfinished)") == 0
    assert watching.value('sum(touchline_feed_messages_total{role="pod",outcome="applied"})') == 4
    assert watching.value('sum(touchline_feed_messages_total{role="feed",kind="odds_change"}) > 4') is not None


def test_a_player_is_one_however_many_pods_hear_of_him(watching: Prometheus, players: list[Caller]) -> None:
    until(players, lambda: watching.value("min(touchline_live_users)") == len(players))
    assert watching.value("max(touchline_live_users)") == len(players)
    polled = 'sum by (part) (rate(touchline_http_requests_total{route="/odds",role="pod"}[30s])) > 0'
    assert len(watching.query(polled)) == 2


@pytest.mark.parametrize("query", dashboard_queries(), ids=lambda query: query.panel)
def test_every_query_of_the_dashboard_is_answered(request: pytest.FixtureRequest, query: Query) -> None:
    server: Prometheus = request.getfixturevalue(watching_of(query.row))
    samples = server.query(query.expression)
    assert samples
    for label in re.findall(r"{{(\w+)}}", query.legend):
        assert all(label in sample["metric"] for sample in samples), label


def watching_of(row: str) -> str:
    """The Prometheus that watches a platform which has what a row of the dashboard shows."""
    if "stream" in row:
        return "watching_stream"
    return "watching_mitigated" if "setting" in row else "watching"


def test_whatever_rules_and_dashboard_name_is_exposed(
    watching: Prometheus, watching_stream: Prometheus, watching_mitigated: Prometheus
) -> None:
    servers = (watching, watching_stream, watching_mitigated)
    rules = rules_of(watching)
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    expressions = {rule["query"] for rule in rules} | {query.expression for query in dashboard_queries()}
    wanted = set().union(*map(selectors, expressions))
    assert len(wanted) > 30
    asked = {selector: [sample for server in servers for sample in server.query(selector)] for selector in wanted}
    assert [selector for selector, samples in asked.items() if not samples] == []
    for label, selector in set().union(*map(grouped_by, expressions)):
        assert all(label in sample["metric"] for sample in asked[selector]), (label, selector)


def test_the_dashboard_asks_the_datasource_that_is_provisioned() -> None:
    folder = ROOT / "deploy" / "grafana"
    dashboard = json.loads((folder / "dashboards" / "touchline.json").read_bytes())
    [uid] = re.findall(
        r"^ +uid: (\S+)$", (folder / "provisioning/datasources/touchline.yaml").read_text("utf-8"), re.M
    )
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    asked = [panel["datasource"] for panel in panels] + [t["datasource"] for p in panels for t in p["targets"]]
    assert [source for source in asked if source != {"type": "prometheus", "uid": uid}] == []
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


async def end_event(stores: Stores) -> None:
    ended = FixtureChange(
        message_id=MessageId(str(stores.chance.uuid())),
        occurred_at=stores.clock.now(),
        event_id=EVENT,
        status=EventStatus.ENDED,
    )
    assert await stores.feed.apply(ended)


async def test_settlement_that_is_under_way_or_overdue_is_seen_in_the_books(database_dsn: str) -> None:
    clock = HandClock()
    async with postgres_stores(database_dsn, clock) as stores:
        database = await Database.connect(database_dsn)
        ann, market = await open_player(stores), await price(stores)
        for _ in range(3):
            await placed(stores, bet_on(stores, market, ann))
        quiet = await read_activity(database, clock.now())
        assert (quiet.unfinished, quiet.bets_wanted, quiet.bets_done) == (0, 0, 0)
        assert (quiet.oldest_s, quiet.overdue_s) == (0, 0)

        await end_event(stores)
        clock.move(timedelta(seconds=400))
        await stores.trading.settle(market.market_id, HOME_WINS)
        clock.move(timedelta(seconds=250))
        asked = await read_activity(database, clock.now())
        assert (asked.unfinished, asked.oldest_s, asked.overdue_s) == (1, 250, 650)

        settlement = await stores.settlements.next_unfinished()
        assert settlement is not None
        [bet_id, *_] = await stores.settlements.open_bets(settlement, 1)
        await stores.settlements.carry_out(settlement, [bet_id], clock.now())
        begun = await read_activity(database, clock.now())
        assert (begun.bets_wanted, begun.bets_done, begun.overdue_s) == (3, 1, 650)

        await work_all(stores)
        done = await read_activity(database, clock.now())
        assert (done.unfinished, done.oldest_s, done.overdue_s) == (0, 0, 0)
        assert sum(done.connections.values()) >= 2
        assert done.connections_max >= 100
        await database.close()


async def test_facts_that_wait_for_their_reader_are_counted(database_dsn: str, valkey_url: str) -> None:
    async with settling_scene(database_dsn, valkey_url) as scene:
        for market_id in (MARKET, OTHER_MARKET):
            await price(scene.stores, market_id=market_id)
        await scene.stores.trading.settle(MARKET, HOME_WINS)
        async with at_work(scene.settlement):
            await scene.until_worked()
            await until_all_is_read(scene)
        await open_player(scene.stores)
        await scene.three_bets("ann", OTHER_MARKET)
        await scene.stores.trading.settle(OTHER_MARKET, HOME_WINS)
        away = KafkaFactLog(Cluster("127.0.0.1:1"))
        meters = LogMeters({("settlement", "kafka"): away, ("settlement", "postgresql"): scene.settlement.log})
        await meters.refresh()
        [family] = meters.collect()
        told = [(sample.labels, sample.value) for sample in family.samples]
        assert told == [({"reader": "settlement", "log": "postgresql"}, 1)]
        async with at_work(scene.settlement):
            await until_all_is_read(scene)


async def until_all_is_read(scene: Scene) -> None:
    while await scene.settlement.log.unread("settlement"):
        await asyncio.sleep(0)
