"""Values are to the interpreter what frozen dataclasses are, but for the look at each that is set."""

import copy
import pickle
from dataclasses import dataclass, replace

import pytest

from touchline.core.values import value


@value(frozen=True, slots=True)
class Coin:
    side: str
    worth: int = 1


@dataclass(frozen=True, slots=True)
class Frozen:
    side: str
    worth: int = 1


def test_a_value_is_equal_hashed_copied_and_changed_as_a_frozen_dataclass_is() -> None:
    coin = Coin("heads")
    assert coin == Coin("heads", 1) != replace(coin, worth=2)
    assert hash(coin) == hash(Frozen("heads"))
    assert len({coin, copy.copy(coin), pickle.loads(pickle.dumps(coin))}) == 1
    with pytest.raises(AttributeError):
        coin.year = 2026  # type: ignore[attr-defined]  # it has none


def test_that_a_value_is_not_to_be_changed_is_for_mypy_to_say() -> None:
    Coin("heads").side = "tails"  # type: ignore[misc]  # an ignore that nothing needs would be an error
