"""Backups of the database: what Barman's files say, and what WAL positions and names mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fixtures.database_backups import _gravest
from policies.facts.database_backups import (
    Arrival,
    BaseBackup,
    Recovery,
    Row,
    Stored,
    position,
    segment_end,
    segment_number,
)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(1_800_000_000 + seconds, UTC)


def test_positions_and_segments() -> None:
    assert position("0/0") == 0
    assert position("16/B374D848") == 0x16B374D848
    assert segment_number("0000000100000000000000FF") == 255
    assert segment_number("000000010000000100000000") == 256
    assert segment_number("000000010000000100000000", 64 << 20) == 64
    assert segment_end("000000010000000000000000") == 16 << 20


@pytest.mark.parametrize(
    ("files", "trouble"),
    [
        ({"data.tar": 1}, ""),
        ({"data.tar.gz": 1}, ""),
        ({"data.tar": 1, "data_0001.tar": 1}, ""),
        ({"data.tar": 1, "data_0001.tar": 0}, "data.tar is empty"),
        ({"backup.info": 1}, "data.tar is not there"),
    ],
)
def test_a_base_backup_lacks_what_is_not_beside_its_info(files: dict[str, int], trouble: str) -> None:
    stored = tuple(Stored(name, size) for name, size in files.items())
    backup = BaseBackup("20261127T020000", "DONE", at(0), at(60), "", "", stored)
    assert backup.trouble == trouble


def recovery(rows: list[tuple[float, int]], arrivals: list[tuple[float, int]], until: float) -> Recovery:
    """Rows as (when, position), arrivals as (when, number of the segment)."""
    return Recovery(
        seen_at=at(until),
        cluster="production/finbot-db",
        scratch="scratch",
        instant=at(0),
        position="0/0",
        backup="",
        source=(),
        restored=(),
        rows=tuple(Row(n, at(when), f"0/{lsn:X}", f"0/{lsn:X}") for n, (when, lsn) in enumerate(rows)),
        found=(),
        took_s=0,
        arrivals=tuple(Arrival(f"{1:08X}{0:08X}{number:08X}", at(when)) for when, number in arrivals),
        forced=f"{1:08X}{0:08X}{0:08X}",
        watched_until=at(until),
    )


def test_what_would_be_lost_is_most_right_before_a_segment_comes() -> None:
    rows = [(float(second), (second + 1) << 18) for second in range(100)]  # 64 rows fill a segment
    seen = recovery(rows, [(66, 0), (130, 1)], 131)
    # Segment 0 holds the rows up to second 63; the next one comes at 130.
    assert seen.exposure == (67.0, at(130))
    assert seen.cycles == 1
    assert recovery(rows, [], 131).exposure is None
    assert recovery(rows, [(66, 0)], 80).exposure == (17.0, at(80))


def test_the_gravest_line_of_a_log() -> None:
    log = "\n".join(
        [
            "not JSON",
            '{"level":"error","msg":"while restoring","error":"exit status 1"}',
            '{"level":"info","record":{"error_severity":"FATAL","message":"recovery ended before\\n the target"}}',
            '{"level":"info","record":{"error_severity":"LOG","message":"shut down"}}',
            '{"level":"error","msg":"retrying"}',
        ]
    )
    assert _gravest(log) == "recovery ended before the target"
    assert _gravest(log.splitlines()[1]) == "while restoring: exit status 1"
    assert _gravest("") == ""
