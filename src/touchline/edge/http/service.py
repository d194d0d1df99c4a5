"""What runs a pod ask: is it alive, is it ready, what does it count, what does it answer."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from touchline.core.errors import Outage
from touchline.edge.http.openapi import openapi
from touchline.edge.http.operations import Call, Operation, Reply
from touchline.edge.http.platform import Platform


class Readiness:
    """Whether requests may come here: not before the process has started, nor once it is to stop.

    `serves` tells what else must hold, of a process whose clients don't come by HTTP.
    """

    def __init__(self, serves: Callable[[], bool] = lambda: True) -> None:
        self.ready = False
        self.serves = serves


class HealthV1(msgspec.Struct, frozen=True):
    """The answer of the health checks."""

    status: str


def service_operations(readiness: Readiness, others: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations about the pod itself; the OpenAPI document tells of `others` and of these."""

    async def live(_platform: Platform, _call: Call) -> Reply:
        return Reply(HealthV1("live"))

    async def ready(_platform: Platform, _call: Call) -> Reply:
        if not readiness.ready or not readiness.serves():
            raise Outage("this pod: it is starting or stopping")
        return Reply(HealthV1("ready"))

    async def metrics(platform: Platform, _call: Call) -> Reply:
        text, content_type = await platform.meters.exposition()
        return Reply(text, content_type=content_type.encode())

    async def document(_platform: Platform, _call: Call) -> Reply:
        return Reply(described)

    operations = (
        Operation(
            method="GET",
            path="/health/live",
            summary="The process answers",
            handle=live,
            roles=None,
            answer=HealthV1,
        ),
        Operation(
            method="GET",
            path="/health/ready",
            summary="The process takes requests",
            handle=ready,
            roles=None,
            answer=HealthV1,
        ),
        Operation(
            method="GET", path="/metrics", summary="Metrics in Prometheus' text format", handle=metrics, roles=None
        ),
        Operation(method="GET", path="/openapi.json", summary="This document", handle=document, roles=None),
    )
    described: Final = openapi((*others, *operations))
    return operations
