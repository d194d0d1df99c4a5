"""How full the pods' pools are, read from a real platform."""

import asyncio
from pathlib import Path

from tests.platforms import OwnPlatform
from touchline.lab.clock import monotonic_s
from touchline.lab.platform import Platform
from touchline.lab.pools import meter_pools, read_pool
from touchline.lab.records import METERS, LineWriter, Meter, read_lines


def ports_of(platform: OwnPlatform) -> dict[str, int]:
    parts = Platform(platform.data_dir).instance.parts
    return {part.name: part.port for part in parts if part.name.startswith("pod-")}


async def test_every_pod_tells_how_full_its_pool_is(platform: OwnPlatform, tmp_path: Path) -> None:
    ports = ports_of(platform)
    path = tmp_path / METERS
    with LineWriter(path) as out:
        metering = asyncio.create_task(meter_pools(out, monotonic_s(), lambda: ports))
        while len(found := list(read_lines(path, Meter))) < 2 * len(ports):
            await asyncio.sleep(0.05)
        metering.cancel()
    assert {meter.part for meter in found} == {part.replace("pod", "pool") for part in ports}
    for meter in found:
        assert meter.extra.keys() == {"in_use", "room", "waiting"}
        assert 0 <= meter.extra["in_use"] <= meter.extra["room"] == 10


async def test_a_pod_that_does_not_answer_has_no_line() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        assert await read_pool(server.sockets[0].getsockname()[1]) == {}
    assert await read_pool(1) == {}
