"""Strict YAML: what is a mistake, and that each is named by file, line and key."""

import os
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from policies.documents import MAX_BYTES, DocumentError, Problem, Strict, key_text, load, mistake, read


class Item(Strict):
    kind: Literal["inspect", "probe"]
    value: float = Field(default=0, ge=0)
    when: date | None = None


class Sample(Strict):
    title: str
    items: tuple[Item, ...] = ()
    by_name: dict[str, Item] = Field(default={})
    flag: bool = False
    count: int = 0


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # files are named relative to where the user stands
    return tmp_path / "sample.yaml"


def problems(file: Path, text: str | bytes) -> list[str]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DocumentError) as caught:
        load(file, Sample)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem) for problem in caught.value.problems]


def test_reads_data_dates_and_quoted_numbers(file: Path) -> None:
    file.write_text(
        'title: "1.1"\nitems:\n- kind: probe\n  value: 3\n  when: 2026-01-31\nby_name:\n  1.10: {kind: inspect}\n'
    )
    sample = load(file, Sample)
    assert sample.title == "1.1"
    assert sample.items == (Item(kind="probe", value=3, when=date(2026, 1, 31)),)
    assert list(sample.by_name) == ["1.10"]  # a key is text as it is written


def test_yaml_1_1_words_stay_text(file: Path) -> None:
    file.write_text("title: no\n")
    assert load(file, Sample).title == "no"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("titel: x\n", 'sample.yaml:1: titel: unknown key. Did you mean "title"?'),
        (
            "title: x\ncolour: red\n",
            "sample.yaml:2: colour: unknown key. Known are: by_name, count, flag, items, title.",
        ),
        ("items: []\n", "sample.yaml:1: title: is missing."),
        ("title: x\ntitle: y\n", "sample.yaml:2: title: duplicate key; it stands in line 1 already."),
        (
            "title: x\nitems:\n  - kind: X\n",
            'sample.yaml:3: items[0].kind: expected one of inspect, probe; found "X".',
        ),
        ("title: x\nitems:\n  - value: 1\n", "sample.yaml:3: items[0].kind: is missing."),
        (
            "title: x\nby_name:\n  a b:\n    kind: probe\n    knid: 1\n",
            'sample.yaml:5: by_name["a b"].knid: unknown key. Did you mean "kind"?',
        ),
        ("title: 1.1\n", "sample.yaml:1: title: expected text; found the number 1.1: put it in quotes."),
        ("title:\n", "sample.yaml:1: title: expected text; found nothing."),
        ("title: x\ncount: 1.5\n", "sample.yaml:2: count: expected a whole number; found the number 1.5."),
        ("title: x\ncount: true\n", "sample.yaml:2: count: expected a whole number; found true."),
        ("title: x\nflag: yes\n", 'sample.yaml:2: flag: expected true or false; found "yes".'),
        ("title: x\nitems: {}\n", "sample.yaml:2: items: expected a list; found keys and values."),
        ("title: x\nitems: [1]\n", "sample.yaml:2: items[0]: expected keys and values; found the number 1."),
        (
            "title: x\nitems: [{kind: probe, value: .inf}]\n",
            "sample.yaml:2: items[0].value: expected a finite number; found .inf.",
        ),
        (
            "title: x\nitems: [{kind: probe, value: .nan}]\n",
            "sample.yaml:2: items[0].value: expected a finite number; found .nan.",
        ),
        (
            "title: x\nitems: [{kind: probe, value: 1e999}]\n",
            "sample.yaml:2: items[0].value: expected a finite number; found 1e999.",
        ),
        (
            "title: x\nitems: [{kind: probe, value: -1}]\n",
            "sample.yaml:2: items[0].value: input should be greater than or equal to 0; found the number -1.",
        ),
        (
            "title: x\nitems: [{kind: probe, when: 31.1.2026}]\n",
            'sample.yaml:2: items[0].when: expected a date (2026-01-31); found "31.1.2026".',
        ),
        ("", "sample.yaml: the file is empty."),
        ("# only a comment\n", "sample.yaml: the file is empty."),
        ("---\n", "sample.yaml:2: expected keys and values at the top; the file holds nothing."),
        ("- title\n", "sample.yaml:1: expected keys and values at the top; found a list."),
        ("title\n", 'sample.yaml:1: expected keys and values at the top; found "title".'),
        ("title: x\n---\ntitle: y\n", "sample.yaml:2: a second document starts here; one file holds one document."),
        ("%YAML 1.1\n---\ntitle: x\n", "sample.yaml:1: directives (%YAML, %TAG) are not used here; remove them."),
        ("title: !!python/name:os.system\n", "sample.yaml:1: title: tags (!) are not used here; remove it."),
        ("title: &a x\n", "sample.yaml:1: title: anchors and aliases are not used here; write the value out."),
        ("title: *a\n", "sample.yaml:1: title: anchors and aliases are not used here; write the value out."),
        ("? [a]\n: b\n", "sample.yaml:1: a key must be plain text."),
        (
            "title: x\nitems:\n\t- kind: probe\n",
            "sample.yaml:3: not valid YAML: a tab where spaces belong; indent with spaces.",
        ),
    ],
)
def test_names_file_line_key_and_what_was_expected(file: Path, text: str, expected: str) -> None:
    assert problems(file, text) == [expected]


def test_reports_all_mistakes_at_once(file: Path) -> None:
    found = problems(file, "titel: x\nitems:\n  - kind: X\n  - kind: Y\n")
    assert sorted(line.split(": ")[0] for line in found) == [f"sample.yaml:{n}" for n in (1, 3, 4)]


@pytest.mark.parametrize(
    ("text", "line"), [("title: 'x\n", 2), ("title: x\nitems: [\n", 3), ("title: x\n  y: z\n", 2), ("a: }\n", 1)]
)
def test_broken_yaml_names_its_line(file: Path, text: str, line: int) -> None:
    (found,) = problems(file, text)
    assert found.startswith(f"sample.yaml:{line}: not valid YAML: ")


def test_not_utf8_names_its_line(file: Path) -> None:
    assert problems(file, b"title: x\n# caf\xe9\n") == ["sample.yaml:2: byte 14 is not UTF-8; save the file as UTF-8."]


def test_control_characters_are_refused(file: Path) -> None:
    (found,) = problems(file, "title: a\x00b\n")
    assert found.startswith("sample.yaml: not valid YAML: ")


@pytest.mark.parametrize("text", ['title: "\\ud800"\n', '"\\ud800": x\n'])
def test_half_a_character_is_refused(file: Path, text: str) -> None:
    (found,) = problems(file, text)
    assert found.startswith("sample.yaml:1: ")


def test_a_byte_order_mark_does_no_harm(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbftitle: x\n")
    assert load(file, Sample).title == "x"


def test_no_such_file(file: Path) -> None:
    with pytest.raises(DocumentError, match=r"^sample\.yaml: there is no such file; check the path\.$"):
        read(file)


def test_a_folder(file: Path) -> None:
    file.mkdir()
    with pytest.raises(DocumentError, match="this is a folder; name a YAML file"):
        read(file)


def test_a_pipe_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(DocumentError, match="this is not a regular file"):
        read(file)


def test_a_path_no_system_knows() -> None:
    with pytest.raises(DocumentError, match=r"cannot be read|no such file"):
        read("a\0b.yaml")
    with pytest.raises(DocumentError, match="the file cannot be read"):
        read("a" * 5000)


def test_too_large(file: Path) -> None:
    (found,) = problems(file, "#" * (MAX_BYTES + 1))
    assert "larger than" in found


@pytest.mark.parametrize(
    "text", ["a: " + "[" * 100_000, "a: " + "{a: " * 50_000, "".join(" " * n + "a:\n" for n in range(500))]
)
def test_too_deep(file: Path, text: str) -> None:
    assert "nested more than 40 deep" in problems(file, text)[-1]


def test_a_mistake_found_by_a_model_names_its_key(file: Path) -> None:
    class Checked(Strict):
        items: tuple[Item, ...]

        def model_post_init(self, _: object) -> None:
            raise mistake(("items", 1, "value"), "too {many} items.")

    file.write_text("items:\n  - kind: probe\n  - kind: probe\n    value: 2\n")
    with pytest.raises(DocumentError) as caught:
        load(file, Checked)
    assert caught.value.problems == (Problem("sample.yaml", 4, "items[1].value", "too {many} items."),)


def test_key_text() -> None:
    assert key_text(("clauses", 0, "limits", "1.1")) == 'clauses[0].limits["1.1"]'
    assert key_text(()) == ""
