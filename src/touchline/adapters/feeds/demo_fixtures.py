"""The fixture list of the demo: which invented sides meet, in which slot, and when.

Invariant: an event's id says all of its fixture, so that a process that knows only the id can play the match to
its end; and the list is a function of seed, matches, speed and the clock, with nothing remembered.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from random import Random
from typing import Final

from touchline.adapters.feeds.demo_model import Match, play_match
from touchline.core.ids import EventId

# In match seconds. A slot's match is over, at the latest 6,660 s after its kick-off, before its next is announced.
ROUND_S: Final = 7_800.0
KICK_OFF_VARIES_S: Final = 300.0
ANNOUNCED_S: Final = -840.0
BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLI: Final = timedelta(milliseconds=1)
SPEED_MILLI_MAX: Final = 1_000_000
COMPETITION: Final = "Meridian League"
# Invented places; a slot of the list has four of them, and the slots after the twelfth other clubs of the same.
PLACES: Final = (
    *("Ashvale", "Brackwater", "Calderfen", "Dunhollow", "Eldermoor", "Fallowby", "Gristhorpe", "Harrowmere"),
    *("Inglebeck", "Jarnholt", "Kestrelby", "Lornwick", "Marrowgate", "Netherquay", "Orlinstead", "Pellmarsh"),
    *(
        "Quenby Vale",
        "Ravensholt",
        "Saltmarch",
        "Thistlecombe",
        "Ulverdale",
        "Vexholme",
        "Wrenfield",
        "Yarrowmouth",
    ),
    *("Zelminster", "Amberholm", "Blackfirth", "Coldharrow", "Drumlock", "Eastermere", "Fennick", "Gallowdene"),
    *("Hollowbrook", "Ivelford", "Kirkmoss", "Larchester", "Mossburn", "Northolme", "Oakenshaw Bay", "Pinebarrow"),
    *("Quarlow", "Rookhaven", "Silverfen", "Tarnwood", "Umberley", "Varnside", "Westerholt", "Windlemere"),
)
CLUBS: Final = ("United", "Rovers", "Athletic", "City", "Wanderers", "Town")
SIDES_PER_SLOT: Final = 4
SEEDS: Final = 10**18
KICK_OFF_MS_MAX: Final = 32_503_680_000_000  # the year 3000
FIXTURES_CACHED_MAX: Final = 2_048
_ID: Final = re.compile(r"demo:([0-9]{1,18}):([0-9]{1,2}):([0-9]{1,12}):([0-9]{1,15}):([0-9]{1,7})")


@dataclass(frozen=True)
class Fixture:
    """A match in the list; `kick_off_ms` counts from the Unix epoch, `speed_milli` is a thousandth of a factor."""

    seed: int
    slot: int
    round: int
    kick_off_ms: int
    speed_milli: int

    @property
    def event_id(self) -> EventId:
        """The id that `fixture_of` reads back."""
        return EventId(f"demo:{self.seed}:{self.slot}:{self.round}:{self.kick_off_ms}:{self.speed_milli}")

    @cached_property
    def match(self) -> Match:
        """The match."""
        return play_match(f"{self.seed}/{self.slot}/{self.round}")

    @cached_property
    def sides(self) -> tuple[str, str]:
        """The names of the sides, home first."""
        home, away = Random(f"sides/{self.seed}/{self.slot}/{self.round}").sample(range(SIDES_PER_SLOT), 2)
        return self._side(home), self._side(away)

    def _side(self, number: int) -> str:
        place, club = self.slot * SIDES_PER_SLOT + number, self.slot * SIDES_PER_SLOT // len(PLACES)
        return f"{PLACES[place % len(PLACES)]} {CLUBS[(place + club) % len(CLUBS)]}"

    @property
    def kick_off(self) -> datetime:
        """When it kicks off."""
        return EPOCH + self.kick_off_ms * MILLI

    def when(self, match_s: float) -> datetime:
        """Return the instant at which the match's timeline is at `match_s`."""
        return self.kick_off + timedelta(seconds=match_s * 1000 / self.speed_milli)

    def match_s(self, at: datetime) -> float:
        """Return where the match's timeline is at the instant `at`."""
        return (at - self.kick_off).total_seconds() * self.speed_milli / 1000


def fixture_of(event_id: EventId) -> Fixture | None:
    """Return the fixture of an event, None where it isn't one of the demo's."""
    found = _ID.fullmatch(event_id)
    if found is None:
        return None
    fixture = Fixture(*(int(group) for group in found.groups()))
    possible = 0 < fixture.speed_milli <= SPEED_MILLI_MAX and fixture.kick_off_ms <= KICK_OFF_MS_MAX
    return fixture if possible else None


@dataclass(frozen=True, slots=True)
class FixtureList:
    """The fixtures of `matches` slots, their kick-offs spread evenly over a round."""

    seed: int
    matches: int
    speed_milli: int

    def running(self, after: datetime, until: datetime) -> Iterator[Fixture]:
        """Yield the fixtures that have been announced by `until` and whose results came later than `after`."""
        round_s = ROUND_S * 1000 / self.speed_milli
        margin_s = (KICK_OFF_VARIES_S - ANNOUNCED_S) * 1000 / self.speed_milli
        first = int((after - BEGINNING).total_seconds() // round_s) - 2
        last = int(((until - BEGINNING).total_seconds() + margin_s) // round_s) + 1
        for slot in range(self.matches):
            for number in range(max(first, 0), last + 1):
                fixture = _fixture(self, slot, number)
                if fixture.when(ANNOUNCED_S) <= until and fixture.when(fixture.match.result_s) > after:
                    yield fixture


@lru_cache(FIXTURES_CACHED_MAX)
def _fixture(of: FixtureList, slot: int, number: int) -> Fixture:
    varies_s = Random(f"kick-off/{of.seed}/{slot}/{number}").uniform(0, KICK_OFF_VARIES_S)
    match_s = (number + slot / of.matches) * ROUND_S + varies_s
    kick_off = BEGINNING + timedelta(seconds=match_s * 1000 / of.speed_milli)
    return Fixture(of.seed, slot, number, (kick_off - EPOCH) // MILLI, of.speed_milli)
