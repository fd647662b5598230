"""What this machine's journal files say is still broken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from harness.journal import open_lines
from reports.faults import Entry, Event, Line

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(name: str, target: str = "lab") -> Entry:
    return Entry(name, "run", target, "control-plane-node-cut", {"node": "cp1"}, NOW)


def write(file: Path, *lines: tuple[Event, Entry], tail: bytes = b"") -> Path:
    file.write_bytes(b"".join(msgspec.json.encode(Line(NOW, event, e)) + b"\n" for event, e in lines) + tail)
    return file


def test_only_what_was_opened_and_not_undone_is_open(tmp_path: Path) -> None:
    a, b = entry("a"), entry("b")
    file = write(tmp_path / "j", ("open", a), ("injected", a), ("open", b), ("undone", a))
    assert open_lines([file], "lab") == (b,)


def test_an_entry_of_another_target_is_not_ours_to_undo(tmp_path: Path) -> None:
    assert open_lines([write(tmp_path / "j", ("open", entry("a", "production")))], "lab") == ()


def test_a_line_cut_short_by_a_crash_does_not_hide_the_others(tmp_path: Path) -> None:
    file = write(tmp_path / "j", ("open", entry("a")), tail=b'{"at": "2026-01-01T00:')
    assert [e.id for e in open_lines([file], "lab")] == ["a"]


def test_bytes_that_are_no_text_do_not_hide_the_others(tmp_path: Path) -> None:
    file = write(tmp_path / "j", ("open", entry("a")), tail=b'{"at": "\xff\xfe"}\n')
    assert [e.id for e in open_lines([file], "lab")] == ["a"]
