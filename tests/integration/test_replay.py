"""`touchline feed replay` against a real pod on PostgreSQL, and against a platform that stumbles."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from tests.shared import shared_path
from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.adapters.feeds.recordings import Recording
from touchline.architectures import poll, wiring
from touchline.architectures.demo import open_demo_accounts
from touchline.architectures.settings import Settings
from touchline.cli_feed import feed_app
from touchline.core.event import EventStatus
from touchline.core.feed import Alive
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import MarketStatus
from touchline.edge import replay
from touchline.edge.http.app import HttpApp
from touchline.edge.http.pages import pages
from touchline.edge.http.service import Readiness, service_operations

TENNIS = "betfair/tennis-29788105-hassan-haerteis.jsonl"
SCORES = "betfair/cricket-1.200806927-netherlands-png-t20.ccm-score-stream.jsonl"
# Nothing listens on the discard port.
NOBODY = "http://127.0.0.1:9"


@dataclass
class Pod:
    """A pod that serves on a real socket, and what stands behind it."""

    address: str
    poll: poll.Poll


@asynccontextmanager
async def pod_on(database_dsn: str, valkey_url: str) -> AsyncIterator[Pod]:
    """Serve one pod from this event loop."""
    settings = Settings(postgres=database_dsn, valkey=valkey_url, token_secret="s" * 32)
    async with poll.assembled(settings, "test") as assembled:
        await open_demo_accounts(assembled.platform, assembled.passwords)
        operations = (*wiring.OPERATIONS, *service_operations(Readiness(), wiring.OPERATIONS))
        application = HttpApp(assembled.platform, operations, pages())
        server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # uvicorn offers nothing to await
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Pod(f"http://127.0.0.1:{port}", assembled)
        server.should_exit = True
        await serving


async def run(*arguments: str) -> Result:
    """Run the command in a thread, beside the platform that serves it."""
    return await asyncio.to_thread(CliRunner().invoke, feed_app, ["replay", *arguments])


async def test_a_recorded_match_is_priced_and_settled_and_again_changes_nothing(
    database_dsn: str, valkey_url: str
) -> None:
    recording = shared_path(TENNIS)
    async with pod_on(database_dsn, valkey_url) as pod:
        first = await run("--betfair", str(recording), "--to", pod.address)
        assert (first.exit_code, first.stderr) == (0, "")
        assert "1 markets, 1533 messages" in first.stdout
        assert " 0 refused; 0 malformed" in first.stdout
        markets = pod.poll.platform.markets
        market = await markets.get(MarketId("1.170370562"))
        assert market is not None
        assert market.status is MarketStatus.SETTLED
        assert {selection.selection_id for selection in market.selections} == {"9631798", "9625043"}
        found = await markets.event(EventId("29788105"))
        assert found is not None
        assert found[0].status is EventStatus.ENDED
        again = await run("--betfair", str(recording), "--to", pod.address)
        assert again.exit_code == 0
        assert "0 applied, 1533 ignored, 0 refused" in again.stdout
        assert await markets.get(MarketId("1.170370562")) == market


async def test_the_last_price_of_a_recording_is_the_platforms(
    database_dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    whole = shared_path(TENNIS).read_bytes().splitlines(keepends=True)
    part = tmp_path / "part"
    part.write_bytes(b"".join(whole[:5000]))
    feed = BetfairFeed()
    prices: dict[str, int | None] = {}
    with Recording(part) as recording:
        for message in feed.replay(recording):
            for selection in getattr(message, "selections", ()):
                prices[selection.selection_id] = selection.odds_milli or prices.get(selection.selection_id)
    async with pod_on(database_dsn, valkey_url) as pod:
        assert (await run("--betfair", str(part), "--to", pod.address)).exit_code == 0
        market = await pod.poll.platform.markets.get(MarketId("1.170370562"))
        assert market is not None
        assert {each.selection_id: each.odds_milli for each in market.selections} == prices


async def test_malformed_lines_are_named_and_the_rest_is_replayed(
    database_dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    lines = shared_path(TENNIS).read_bytes().splitlines()[-300:]
    whole = [*shared_path(TENNIS).read_bytes().splitlines()[:1], b"{broken", b'{"op":"mcm","pt":"x"}', *lines]
    path = tmp_path / "recording"
    path.write_bytes(b"\n".join(whole))
    async with pod_on(database_dsn, valkey_url) as pod:
        result = await run("--betfair", str(path), "--to", pod.address)
    assert result.exit_code == 0
    assert "2 malformed" in result.stdout
    assert "malformed: line 2: no JSON" in result.stderr
    assert "malformed: line 3: Expected `int | null`" in result.stderr


async def test_a_scores_stream_is_told_to_hold_no_markets(database_dsn: str, valkey_url: str) -> None:
    async with pod_on(database_dsn, valkey_url) as pod:
        result = await run("--betfair", str(shared_path(SCORES)), "--to", pod.address)
    assert result.exit_code == 2
    assert "holds no markets: nothing to replay in 2170 lines, of other streams (ccm)" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_messages_of_a_unified_odds_feed_are_replayed(database_dsn: str, valkey_url: str) -> None:
    kinds = ("odds_change", "bet_stop", "bet_settlement", "alive", "snapshot_complete")
    files = [str(shared_path(f"uof_efcasado/{kind}.xml")) for kind in kinds]
    async with pod_on(database_dsn, valkey_url) as pod:
        result = await run("--uof", *files, "--to", pod.address)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "1 markets, 5 messages: 4 applied, 1 ignored, 0 refused" in result.stdout
        market = await pod.poll.platform.markets.get(MarketId("sr:match:42:1:goalnr=1"))
        assert market is not None
        assert market.status is MarketStatus.SETTLED


async def test_who_may_not_feed_is_told_so(database_dsn: str, valkey_url: str) -> None:
    recording = str(shared_path(TENNIS))
    async with pod_on(database_dsn, valkey_url) as pod:
        wrong = await run("--betfair", recording, "--to", pod.address, "--password", "wrong")
        player = await run("--betfair", recording, "--to", pod.address, "--username", "alice")
    assert wrong.exit_code == 2
    assert "password" in wrong.stderr
    assert player.exit_code == 2
    assert "player" in player.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name what to replay: either --betfair FILE or --uof FILE..."),
        (("--betfair", __file__, "--uof", __file__), "name what to replay: either"),
        (("--betfair", "/no/such/file"), "can't read /no/such/file: No such file or directory"),
        (("--betfair", "/"), "can't read /: Is a directory"),
        (("--betfair", __file__, "--speed", "fast"), "--speed fast: give a number above 0"),
        (("--betfair", __file__, "--speed", "-1"), "--speed -1: give a number above 0"),
        (("--betfair", __file__, "--speed", "nan"), "--speed nan: give a number above 0"),
        (("--betfair", __file__, "--to", "nowhere"), "nowhere is no address of a platform"),
        (("--betfair", __file__, "--to", "http://[::"), "is no address of a platform"),
        (("--betfair", __file__, "--to", NOBODY), f"the platform at {NOBODY} is away; `touchline up` starts one"),
    ],
)
async def test_what_can_not_be_done_is_one_line_that_says_what_to_do(
    arguments: tuple[str, ...], says: str
) -> None:
    result = await run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


Answer = Callable[[dict[str, Any] | list[dict[str, Any]]], tuple[int, dict[str, str], dict[str, Any]]]


@dataclass
class Stumbling:
    """A platform that answers posts of messages by a script, and remembers what it was sent."""

    script: list[Answer]
    address: str = ""
    batches: list[list[dict[str, Any]]] = field(default_factory=list)


@contextmanager
def stumbling(*script: Answer) -> Iterator[Stumbling]:
    """Serve a platform whose answers are `script`, the last one over and over."""
    platform = Stumbling(list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(200, {}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/auth/login":
                later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
                self._reply(200, {}, {"token": "t", "expires_at": later, "player_id": "feed", "role": "feed"})
                return
            platform.batches.append(body)
            answer = platform.script.pop(0) if len(platform.script) > 1 else platform.script[0]
            status, headers, content = answer(body)
            if status:
                self._reply(status, headers, content)
            else:
                self.close_connection = True  # taken, and the answer lost

        def _reply(self, status: int, headers: dict[str, str], content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers | {"content-length": str(len(text))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    platform.address = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield platform
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def taken(batch: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Take the whole batch."""
    return 200, {}, {"applied": len(batch), "ignored": 0}


def away(_: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Be away, back at once."""
    return 503, {"retry-after": "0"}, {"code": "UNAVAILABLE", "detail": "away"}


def cut_off(_: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Answer nothing."""
    return 0, {}, {}


def signed_out(_: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Know the token no more."""
    return 401, {}, {"code": "UNAUTHENTICATED", "detail": "log in"}


def picky(batch: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Refuse a batch that holds message 7."""
    if any(message["message_id"] == "7" for message in batch):
        return 400, {}, {"code": "MALFORMED", "detail": "no sevens"}
    return taken(batch)


def alives(count: int, apart: timedelta = timedelta(0)) -> list[Alive]:
    """Messages named by their number, from 0."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Alive(message_id=MessageId(str(number)), occurred_at=start + number * apart) for number in range(count)
    ]


async def send(platform: Stumbling, messages: list[Alive], speed: float | None = None) -> replay.ReplayReport:
    """Replay `messages` to `platform`."""
    report = replay.ReplayReport()
    async with replay.PlatformDoor(platform.address, "feed", "demo", report) as door:
        await door.log_in()
        await replay.Replay(door, report, lambda: None).run(messages, speed)
    return report


def sent(platform: Stumbling) -> list[str]:
    """The ids of all messages sent, in their order."""
    return [message["message_id"] for batch in platform.batches for message in batch]


async def test_batches_are_bounded_and_in_order() -> None:
    with stumbling(taken) as platform:
        report = await send(platform, alives(450))
        assert [len(batch) for batch in platform.batches] == [200, 200, 50]
        assert sent(platform) == [str(number) for number in range(450)]
        assert (report.sent, report.applied, report.refused, report.retries) == (450, 450, 0, 0)


async def test_a_batch_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "BATCH_BYTES_MAX", 1000)
    with stumbling(taken) as platform:
        await send(platform, alives(50))
        assert all(len(json.dumps(batch, separators=(",", ":"))) <= 1002 for batch in platform.batches)
        assert len(sent(platform)) == 50


async def test_a_platform_that_is_away_or_whose_answer_is_lost_gets_the_same_batch_again() -> None:
    with stumbling(away, cut_off, taken) as platform:
        report = await send(platform, alives(3))
        assert platform.batches[0] == platform.batches[1] == platform.batches[2]
        assert (report.sent, report.applied, report.retries) == (3, 3, 2)


async def test_a_platform_that_stays_away_ends_the_replay(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    recording.write_bytes(b"".join(shared_path(TENNIS).read_bytes().splitlines(keepends=True)[:1]))
    with stumbling(away) as platform:
        result = await run("--betfair", str(recording), "--to", platform.address)
        assert len(platform.batches) == replay.TRIES_MAX
    assert result.exit_code == 2
    assert f"the platform at {platform.address} is away" in result.stderr


async def test_a_session_that_ended_is_begun_again() -> None:
    with stumbling(signed_out, taken) as platform:
        report = await send(platform, alives(3))
        assert (report.sent, report.applied, report.refused) == (3, 3, 0)


async def test_a_refused_message_is_named_and_the_others_are_taken() -> None:
    with stumbling(picky) as platform:
        report = await send(platform, alives(12))
        assert (report.sent, report.applied, report.refused) == (12, 11, 1)
        assert report.refusals == ["7: MALFORMED: no sevens"]


async def test_refused_messages_make_the_command_exit_with_1(tmp_path: Path) -> None:
    def refuse(_: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        return 400, {}, {"code": "MALFORMED", "detail": "not today"}

    recording = tmp_path / "recording"
    recording.write_bytes(b"".join(shared_path(TENNIS).read_bytes().splitlines(keepends=True)[:1]))
    with stumbling(refuse) as platform:
        result = await run("--betfair", str(recording), "--to", platform.address)
    assert result.exit_code == 1
    assert "MALFORMED: not today" in result.stderr


async def test_at_a_speed_messages_that_are_due_together_go_together() -> None:
    with stumbling(taken) as platform:
        messages = alives(2) + [
            Alive(message_id=MessageId(f"later {n}"), occurred_at=datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
            for n in range(2)
        ]
        await send(platform, messages, speed=600)
        assert [[m["message_id"] for m in batch] for batch in platform.batches] == [
            ["0", "1"],
            ["later 0", "later 1"],
        ]
