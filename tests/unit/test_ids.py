"""Ids and keys from outside: what can name something, and what can't."""

import pytest

from touchline.core.errors import Code, Rejection
from touchline.core.ids import ID_LENGTH_MAX, KEY_LENGTH_MAX, check_id, check_key


@pytest.mark.parametrize(
    "text", ["1", "a", "1.166811431", "sr:match:42", "match-1:1x2", "A/b=c@d+e|f_g", "x" * ID_LENGTH_MAX]
)
def test_an_id_that_names_something_is_kept(text: str) -> None:
    assert check_id("market_id", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a b", "-a", ":a", ".", "..", "/a", "a\n", "a\x00", "é", "а", "a;b", "a'b", 'a"b', "a?b", "a#b",
        "a%b", "a\\b", "a{b", "x" * (ID_LENGTH_MAX + 1),
    ],
    ids=repr,
)  # fmt: skip
def test_an_id_that_could_be_misread_is_refused_naming_its_field(text: str) -> None:
    with pytest.raises(Rejection) as refused:
        check_id("market_id", text)
    assert refused.value.code is Code.MALFORMED
    assert refused.value.extra["field"] == "market_id"


@pytest.mark.parametrize("text", ["k", "k 1", "{}", "~!#$%", "k" * KEY_LENGTH_MAX])
def test_a_key_may_be_any_printable_ascii(text: str) -> None:
    assert check_key("idempotency_key", text) == text


@pytest.mark.parametrize("text", ["", "k\n", "k\x00", "\t", "ключ", "\x7f", "k" * (KEY_LENGTH_MAX + 1)], ids=repr)
def test_a_key_that_could_be_misread_is_refused_naming_its_field(text: str) -> None:
    with pytest.raises(Rejection) as refused:
        check_key("idempotency_key", text)
    assert refused.value.code is Code.MALFORMED
    assert refused.value.extra["field"] == "idempotency_key"
