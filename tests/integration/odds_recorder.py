"""The recorder of odds as a process of its own, to be killed: `python -m ... DSN VALKEY_URL`."""

import asyncio
import sys

from tests.stream_scene import recording
from touchline.core.errors import Outage


async def main(dsn: str, valkey_url: str) -> None:
    """Record for ever; an outage is waited out, as the platform's own worker does."""
    async with recording(dsn, valkey_url) as flow:
        while True:
            try:
                await flow.run()
            except Outage:
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
