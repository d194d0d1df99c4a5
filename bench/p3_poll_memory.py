"""P3: `GET /odds/{id}` from a pod's memory, beside nginx that serves the same bytes as a file.

Counted are polls in a second of the server's own processor time: what one core answers, whatever else the machine
does. Where nginx or a C compiler is absent, that is said and nothing measured. With a port, it is the pod itself:
its board in memory, and the whole way of a request through it.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import uvloop

from _books import MARKET, token
from _http_load import http_load
from _load import get
from _ratios import in_turns
from _servers import process
from touchline.adapters.board_markets import BoardMarkets
from touchline.adapters.memory.accounts import MemoryAccounts
from touchline.adapters.memory.bets import MemoryBets
from touchline.adapters.memory.sessions import MemorySessions
from touchline.adapters.memory.settlements import MemorySettlements
from touchline.adapters.memory.tables import Tables
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.architectures.parts import Listening
from touchline.architectures.settings import Settings
from touchline.architectures.wiring import Stores, Surroundings, platform_over, rules_of, serve_process
from touchline.core.delivery import Board, EventChanged, Image, MarketChanged
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, PlayerId, SelectionId
from touchline.core.market import Market, MarketStatus, Selection
from touchline.flows.place_bet import BetPlacing
from touchline.flows.serve_board import BoardServing
from touchline.runtime.addresses import free_port
from touchline.wire.odds_v1 import market_to_wire

CONNECTIONS = 64
SECONDS = 3
BAR = 0.4
HEARTBEAT_S = 0.5
EVENT = EventId("bench")
SETTINGS = msgspec.structs.replace(Settings(), token_secret="s" * 40)
NGINX = """daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; open_file_cache max=1000; default_type application/json;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


def market_body() -> bytes:
    """Return what a poll is answered with."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    market = Market(
        market_id=MARKET,
        event_id=EVENT,
        name="Match odds",
        market_type="match_odds",
        status=MarketStatus.ACTIVE,
        odds_version=7,
        selections=tuple(Selection(SelectionId(name), name.title(), 2_100) for name in ("home", "draw", "away")),
        bet_delay_ms=0,
        priced_at=at,
        updated_at=at,
    )
    return msgspec.json.encode(market_to_wire(market))


class Shown:
    """A stream that shows one market, and then says every heartbeat that nothing has changed."""

    async def follow(self) -> AsyncIterator[Image | Sequence[MarketChanged | EventChanged]]:
        """See `ports.OddsStream`."""
        event = EventChanged(1, Event(EVENT, "A v B", "soccer", "cup", EventStatus.LIVE, None, None, None), 1)
        market = MarketChanged(2, MARKET, EVENT, MarketStatus.ACTIVE.value, 7, market_body())
        yield Image("bench", 2, [market], [event])
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            yield []


async def serve(port: int) -> None:
    """Be a pod whose odds are in memory, until told to stop."""
    around, tables = Surroundings.fresh(), Tables()
    clock = around.clock
    nowhere = ValkeyMarkets("redis://127.0.0.1:9", SETTINGS.valkey_timeout_ms, clock)
    markets = BoardMarkets(Board(), Shown(), nowhere, clock)
    bets, accounts = MemoryBets(tables, clock, rules_of(SETTINGS)), MemoryAccounts(tables, clock)
    sessions = MemorySessions(bets_per_minute_max=60, velocity_bets=3, velocity_window_ms=2_000)
    stores = Stores(
        markets=markets,
        settlements=MemorySettlements(tables, clock),
        bets=bets,
        accounts=accounts,
        sessions=sessions,
        placing=BetPlacing(bets, accounts, sessions, clock, 60),
        odds=BoardServing(markets, markets),
    )
    platform = platform_over(SETTINGS, stores, around, keys_required=True)
    await serve_process(platform, Listening(port), lambda: {"board": markets.follow}, answers_clients=True)


@asynccontextmanager
async def nginx(folder: Path, port: int) -> AsyncIterator[None]:
    """Run nginx over the same bytes."""
    path = folder / "files" / "odds" / MARKET
    path.parent.mkdir(parents=True)
    path.write_bytes(market_body())
    folder.chmod(0o755)  # noqa: ASYNC240  # before anything else runs; where we are root it is another user
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port))
    child = await asyncio.create_subprocess_exec("nginx", "-c", str(config))
    try:
        yield
    finally:
        child.terminate()
        await child.wait()


def cpu_s(port: int) -> float:
    """Return the processor time of those children of ours that listen on `port`, and of theirs."""
    own = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    listeners = [child for child in own if port in {c.laddr.port for c in child.net_connections("tcp")}]
    times = [child.cpu_times() for child in listeners]
    return sum(time.user + time.system for time in times)


async def main() -> None:
    """Measure and print."""
    request = get(f"/odds/{MARKET}", token(SETTINGS, PlayerId("bettor")))
    with http_load() as load, tempfile.TemporaryDirectory() as name:
        if load is None or shutil.which("nginx") is None:
            print("P3 is not measured: it needs nginx and a C compiler (cc)")
            return
        file_port, pod_port = free_port(), free_port()

        async def per_core_s(port: int) -> float:
            before = cpu_s(port)
            seen = await load.drive(port, [request], CONNECTIONS, SECONDS, 200)
            return seen.good / (cpu_s(port) - before)

        async with nginx(Path(name), file_port), process(__file__, str(pod_port), port=pod_port):
            await in_turns(
                f"P3: polls from memory in a second of one core, {CONNECTIONS} connections",
                ("nginx, the same bytes as a file", lambda: per_core_s(file_port)),
                ("GET /odds/{id}", lambda: per_core_s(pod_port)),
                BAR,
            )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        uvloop.run(serve(int(sys.argv[1])))
    else:
        asyncio.run(main())
