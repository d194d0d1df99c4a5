"""Percentiles of latencies beside those of the sorted values themselves."""

from random import Random

import pytest

from touchline.lab.histograms import DIGITS, HIGHEST_US, Latencies, percentile_ms

PERCENTS = (0.1, 50, 90, 95, 99, 99.9, 100)


def lognormal(count: int) -> list[int]:
    chance = Random(1)
    return [int(chance.lognormvariate(8, 1.5)) + 1 for _ in range(count)]


def test_a_percentile_is_right_to_three_digits() -> None:
    values = lognormal(20_000)
    latencies = Latencies()
    latencies.add(values)
    ordered = sorted(values)
    for percent in PERCENTS:
        exact = percentile_ms(ordered, percent)
        assert latencies.percentile_ms(percent) == pytest.approx(exact, rel=10**-DIGITS, abs=0.002)
    assert latencies.max_ms() == pytest.approx(ordered[-1] / 1000, rel=10**-DIGITS)


def test_what_is_encoded_is_read_back_and_merges() -> None:
    latencies = Latencies()
    latencies.add(lognormal(1_000))
    again = Latencies.decode(latencies.encode())
    assert [again.percentile_ms(percent) for percent in PERCENTS] == [
        latencies.percentile_ms(percent) for percent in PERCENTS
    ]
    again.add([5, 7])
    assert len(again) == 1_002


@pytest.mark.parametrize("encoded", ["", "not base64 at all", "aGVsbG8="])
def test_what_is_no_histogram_is_refused(encoded: str) -> None:
    with pytest.raises(ValueError, match="no histogram"):
        Latencies.decode(encoded)


def test_what_is_out_of_range_counts_as_the_end_of_it() -> None:
    latencies = Latencies()
    latencies.add([-5, 0, 10 * HIGHEST_US])
    assert len(latencies) == 3
    assert latencies.percentile_ms(50) == 0.001
    assert latencies.percentile_ms(100) == pytest.approx(HIGHEST_US / 1000, rel=10**-DIGITS)


def test_nothing_has_no_percentile() -> None:
    assert Latencies().percentile_ms(50) is None
    assert Latencies().max_ms() is None
    assert percentile_ms([], 50) is None


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([1000], 50, 1.0), ([1000, 2000], 50, 1.0), ([1000, 2000], 51, 2.0), ([1000, 2000, 3000], 100, 3.0)],
)
def test_a_percentile_of_few_is_the_nearest_rank(values: list[int], percent: float, expected: float) -> None:
    assert percentile_ms(values, percent) == expected
