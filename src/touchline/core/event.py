"""The sporting event: who plays, whether it is live, and the score."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from touchline.core.ids import EventId


class EventStatus(StrEnum):
    """Where an event stands."""

    SCHEDULED = "scheduled"  # -> live, ended
    LIVE = "live"  # -> ended
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Event:
    """One sporting event; `score` ("1-0") and `clock` ("63:20") are the feed's words, never computed with."""

    event_id: EventId
    name: str
    sport: str
    competition: str
    status: EventStatus
    start_time: datetime | None
    score: str | None
    clock: str | None
