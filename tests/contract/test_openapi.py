"""Whatever the OpenAPI document allows and whatever it forbids: never a server error, always what it describes."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.callers import log_in
from tests.platforms import OwnPlatform
from touchline.architectures import wiring
from touchline.edge.http.operations import Operation
from touchline.edge.http.sse import QUERY

# What would end the session, or change the demo account for later tests.
LEFT_OUT = {"/auth/logout", "/account/self-exclusion", "/account/limits"}
OPERATIONS = [operation for operation in wiring.OPERATIONS if operation.path not in LEFT_OUT]
CHECKS: tuple[CheckFunction, ...] = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def described(platform: OwnPlatform) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{platform.address}/openapi.json")


@pytest.fixture(scope="module")
def tokens(platform: OwnPlatform) -> dict[str, str]:
    with httpx.Client(base_url=platform.address, timeout=20) as http:
        return {name: str(log_in(http, name).token) for name in ("alice", "trader", "feed")}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_no_request_breaks_the_server(
    described: schemathesis.BaseSchema, tokens: dict[str, str], operation: Operation
) -> None:
    token = tokens[role_of(operation.path)]

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(described[operation.path][operation.method].as_strategy())
    def whatever_is_sent(case: schemathesis.Case) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

    whatever_is_sent()


OVER_SSE: dict[str, dict[str, str]] = {
    "followed": {"markets": "m1"},
    "followed at a pace": {"markets": "m1", "events": "e1", "conflate_ms": "50", "heartbeat_ms": "500"},
    "gone on with": {"markets": "m1", "resume": "a-1"},
    "nothing named": {},
    "no cursor": {"markets": "m1", "resume": "1"},
    "a pace that is none": {"markets": "m1", "conflate_ms": "1"},
    "heartbeats that are none": {"markets": "m1", "heartbeat_ms": "x"},
    "an id that is none": {"events": "a b"},
}


@pytest.mark.parametrize("what", OVER_SSE)
def test_the_stream_answers_what_is_described(stream_platform: OwnPlatform, what: str) -> None:
    with httpx.Client(base_url=stream_platform.address, timeout=20) as http:
        described = http.get("/openapi.json").json()["paths"]["/stream/sse"]["get"]
        named = {(one["in"], one["name"]) for one in described["parameters"]}
        assert named == {("header", "Last-Event-ID"), *(("query", name) for name in QUERY)}
        with http.stream("GET", "/stream/sse", params=OVER_SSE[what]) as answer:
            of_status = described["responses"][str(answer.status_code)]
            assert answer.headers["content-type"] in of_status["content"]
            assert answer.status_code == (200 if what.startswith(("followed", "gone")) else 400)


def test_the_websocket_is_described(stream_platform: OwnPlatform) -> None:
    described = httpx.get(f"{stream_platform.address}/openapi.json").json()["paths"]["/stream"]["get"]
    assert {"101", "503"} <= described["responses"].keys()


def role_of(path: str) -> str:
    """Return who may call `path`, so that what is sent gets past the door."""
    first = path.split("/")[1]
    return {"feed": "feed", "trading": "trader"}.get(first, "alice")
