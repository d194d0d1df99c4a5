"""What a process counts, and what it does where PostgreSQL does not answer."""

import asyncio

from touchline.adapters.postgres.activity import Activity
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.edge.http.meters import HEARD_AT_ONCE_MAX, TAKINGS_KEPT, Audience
from touchline.edge.metering import READ_EVERY_S, ServerMeters

ANN, BEN = PlayerId("ann"), PlayerId("ben")
QUIET = Activity({"active": 1}, 300, 0, 0, 0, 0.0, 0.0)


def told(meters: ServerMeters) -> dict[str, float]:
    """What is exposed, by name; states of connections are summed."""
    return {family.name: sum(sample.value for sample in family.samples) for family in meters.collect()}


class Server:
    """A PostgreSQL that answers, refuses, or is silent until it is told to go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def read(self) -> Activity:
        self.asked += 1
        await self.goes_on.wait()
        if self.away:
            raise Outage("PostgreSQL")
        return QUIET


async def test_a_server_is_asked_once_for_many_scrapes() -> None:
    server = Server()
    meters = ServerMeters(server.read)
    await asyncio.gather(*(meters.refresh() for _ in range(20)))
    await meters.refresh()
    assert server.asked == 1
    assert told(meters)["touchline_db_up"] == 1
    assert told(meters)["touchline_db_server_connections_max"] == 300


async def test_of_a_server_that_is_away_nothing_is_told_but_that() -> None:
    server = Server()
    server.away = True
    meters = ServerMeters(server.read)
    await meters.refresh()
    assert told(meters) == {"touchline_db_up": 0}


async def test_a_silent_server_holds_up_no_scrape_and_is_asked_no_second_time() -> None:
    server = Server()
    server.goes_on.clear()
    meters = ServerMeters(server.read)
    await meters.refresh()
    assert told(meters) == {"touchline_db_up": 0}
    await meters.refresh()
    assert server.asked == 1
    server.goes_on.set()
    await meters.refresh()
    assert told(meters)["touchline_db_up"] == 1


async def test_an_old_answer_is_asked_for_anew() -> None:
    server = Server()
    meters = ServerMeters(server.read)
    await meters.refresh()
    server.away = True
    await meters.refresh()
    assert told(meters)["touchline_db_up"] == 1
    meters._began -= READ_EVERY_S
    await meters.refresh()
    assert told(meters) == {"touchline_db_up": 0}


def test_while_pods_do_not_hear_of_each_other_each_counts_its_own() -> None:
    audience = Audience()
    audience.hear(ANN)
    assert audience.take() == {ANN}
    audience.hear(BEN)
    audience.hear(ANN)
    assert audience.live() == 2
    audience.tell(7)
    assert audience.live() == 7
    audience.tell(None)
    assert audience.live() == 2
    for _ in range(TAKINGS_KEPT + 1):
        audience.take()
    assert audience.live() == 0


def test_an_audience_is_bounded() -> None:
    audience = Audience()
    for number in range(HEARD_AT_ONCE_MAX + 5):
        audience.hear(PlayerId(f"p{number}"))
    assert audience.live() == HEARD_AT_ONCE_MAX
