"""Passwords: only the right one matches, unknown users cost the same work, and too many askers are turned away."""

import asyncio
from collections.abc import Iterator

import argon2
import pytest

from touchline.adapters import passwords as passwords_module
from touchline.adapters.passwords import Passwords
from touchline.core.errors import Fault, Outage


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    weak = Passwords(time_cost=1, memory_cost_kib=64)
    yield weak
    weak.close()


async def test_only_the_password_that_was_hashed_matches(passwords: Passwords) -> None:
    hashed = await passwords.hash_password("demo")
    assert hashed.startswith("$argon2id$")
    assert "demo" not in hashed
    assert await passwords.verify_password(hashed, "demo")
    for wrong in ("", "Demo", "demo ", "dem"):
        assert not await passwords.verify_password(hashed, wrong)


async def test_the_same_password_never_hashes_the_same(passwords: Passwords) -> None:
    assert await passwords.hash_password("demo") != await passwords.hash_password("demo")


async def test_a_username_that_nobody_has_matches_no_password_and_costs_a_hash(passwords: Passwords) -> None:
    for password in ("demo", "nobody's password"):
        assert not await passwords.verify_password(None, password)
    parameters = argon2.extract_parameters(await passwords.hash_password("demo"))
    assert argon2.extract_parameters(passwords._hash_of_nobody) == parameters


async def test_a_hash_that_cannot_be_read_is_a_fault(passwords: Passwords) -> None:
    for broken in ("", "demo", "$argon2id$v=19$m=64,t=1,p=4$xx"):
        with pytest.raises(Fault):
            await passwords.verify_password(broken, "demo")


async def test_more_askers_than_can_wait_are_turned_away_and_the_rest_answered(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords_module, "HASHES_WAITING_MAX", 3)
    hashed = await passwords.hash_password("demo")
    askers = [passwords.verify_password(hashed, "demo") for _ in range(9)]
    answers = await asyncio.gather(*askers, return_exceptions=True)
    assert answers.count(True) == 5
    assert sum(isinstance(answer, Outage) for answer in answers) == 4
    assert await passwords.verify_password(hashed, "demo")


async def test_the_default_cost_is_the_one_rfc_9106_recommends_where_memory_is_dear() -> None:
    strong = Passwords()
    hashed = await strong.hash_password("demo")
    strong.close()
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
