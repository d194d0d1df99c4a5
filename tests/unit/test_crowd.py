"""When a hub holds prices back to go several at a time, and when it does so no longer."""

import pytest

from tests.clock import HandClock
from tests.gateways import offered
from touchline.core.delivery import Board
from touchline.edge.push.framing import websocket_frame
from touchline.edge.push.hub import Hub
from touchline.edge.push.subscriber import Subscriber
from touchline.wire.stream_v1 import SubscribeV1

LOOKS = 40
BUSY, HELD = (1_000, 0.6), (1_000, 0.2)  # pushes a second, and how much of it they take


@pytest.fixture
def hub() -> Hub:
    return Hub(Board(), HandClock(), websocket_frame)


def crowded(hub: Hub, pushes: int, pushing_s: float) -> list[bool]:
    """Return what each of many looks says, at a second's distance, while there is so much to push."""
    said = []
    for _ in range(LOOKS):
        hub._pushes, hub._pushing_s = pushes, pushing_s
        hub._look_at_crowd(hub._looked_at_s + 1.0)
        said.append(hub.crowded)
    return said


def test_what_takes_less_than_half_of_the_time_is_not_held_back(hub: Hub) -> None:
    assert not any(crowded(hub, 1_000, 0.45))


def test_a_crowd_is_one_for_as_long_as_it_lasts_however_little_its_held_frames_take(hub: Hub) -> None:
    assert crowded(hub, *BUSY)[-1]
    assert all(crowded(hub, *HELD))


@pytest.mark.parametrize("pushing_s", [0.3, 0.2, 0.16, 0.05])
def test_what_could_go_at_once_is_held_back_no_longer_whatever_it_takes_held(hub: Hub, pushing_s: float) -> None:
    crowded(hub, *BUSY)
    crowded(hub, *HELD)
    assert not crowded(hub, 500, pushing_s)[-1]  # 0.3 of the time, were none held
    assert not any(crowded(hub, 500, 0.3))


def test_who_was_kept_from_working_when_the_crowd_came_does_not_hold_back_for_ever(hub: Hub) -> None:
    crowded(hub, 1_000, 0.95)
    assert not crowded(hub, 700, 0.1)[-1]


def test_what_one_costs_is_told_by_the_crowd_and_not_by_the_few_before_it(hub: Hub) -> None:
    crowded(hub, 10, 0.001)
    assert crowded(hub, *BUSY)[-1]
    assert hub._push_s == pytest.approx(0.0006, rel=0.05)


async def test_each_who_is_told_of_a_tick_counts_as_one_push_whether_he_waits_or_not(hub: Hub) -> None:
    shown, frames = offered("m1"), list[bytes]()
    hub.show(shown.image())
    for conflate_ms in (0, 0, 60_000):
        Subscriber(hub, frames.append).subscribe(SubscribeV1("1", markets=["m1"], conflate_ms=conflate_ms))
    hub.apply([shown.change("m1")])
    assert hub._pushes == 3
