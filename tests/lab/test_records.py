"""The files of a run: whole lines, whole files, and what becomes of them where the disk is full."""

import errno
from pathlib import Path

import pytest

from touchline.lab.records import (
    Checks,
    LineWriter,
    Meter,
    RuleCheck,
    Unreadable,
    append_lines,
    read_lines,
    read_whole,
    write_whole,
)

FULL = Path("/dev/full")  # a disk that is always full


def meter(part: str) -> Meter:
    return Meter(t_s=1.0, part=part, cpu_percent=2.0, rss_mib=3.0, threads=4)


def test_two_writers_of_a_file_never_tear_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "meters.jsonl"
    long = "x" * 5_000
    with LineWriter(path) as one, LineWriter(path) as other:
        for _ in range(200):
            one.append(meter(f"one {long}"))
            other.append(meter(f"other {long}"))
    parts = [line.part[:3] for line in read_lines(path, Meter)]
    assert (parts.count("one"), parts.count("oth")) == (200, 200)


def test_a_torn_line_is_named_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "meters.jsonl"
    append_lines(path, [meter("a"), meter("b")])
    path.write_bytes(path.read_bytes() + b'{"t_s":1.0,"pa')
    with pytest.raises(Unreadable, match=r"meters\.jsonl, line 3"):
        list(read_lines(path, Meter))
    assert [line.part for line in read_lines(path, Meter, torn=True)] == ["a", "b"]


def test_a_file_that_is_not_there_has_no_lines_and_is_no_whole_one(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "none.jsonl", Meter)) == []
    with pytest.raises(Unreadable, match="none"):
        read_whole(tmp_path / "none.json", Checks)


def test_what_is_written_whole_is_read_back(tmp_path: Path) -> None:
    checks = Checks(rules=[RuleCheck("keys", 3, ["bet b1"])], ok=False)
    write_whole(tmp_path / "checks.json", checks)
    assert read_whole(tmp_path / "checks.json", Checks) == checks
    assert [path.name for path in tmp_path.iterdir()] == ["checks.json"]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(OSError) as full, LineWriter(FULL) as writer:  # it is told at the latest at the end
        writer.append(meter("a"))
    assert full.value.errno == errno.ENOSPC
