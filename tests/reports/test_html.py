"""The page holds everything, and nothing that a cluster says becomes markup."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from policies.catalogue import Catalogue
from policies.framework import load_framework
from policies.limits import Limit
from policies.waivers import Waivers
from reports.html import render
from reports.markup import tag, visible
from reports.store import RunStore
from reports.timeline import WIDTHS, timeline
from tests.reports.example import HOSTILE, LOOSENED, drawn_of, healthy, make_run, outage, summarise, waivers
from tests.rules.facts import build

VOID = {"br", "link", "meta"}


class Reader(HTMLParser):
    """Elements, their attributes and the text, as a browser would see them; complains of elements left open."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def troubled(pages: dict[str, Path]) -> Reader:
    return Reader(pages["troubled"].read_text())


def test_what_is_emulated_is_said_by_that_word_and_its_name(troubled: Reader) -> None:
    _, found, after = troubled.text.partition("Emulated")
    assert found
    assert after.startswith("Six machines: network and process namespaces of one machine")


def test_text_of_the_cluster_stays_text(troubled: Reader) -> None:
    assert visible(HOSTILE) in troubled.text
    assert troubled.tags["script"] == troubled.tags["style"] == 1
    assert troubled.tags["img"] == 0
    assert not [name for _, name, _ in troubled.attributes if name.startswith("on")]
    assert "\x1b" not in troubled.text
    assert "\u202e" not in troubled.text


def test_nothing_outside_the_file_is_asked_for(troubled: Reader) -> None:
    assert {value[:1] for value in troubled.values("href")} == {"#", "d"}
    assert [value for value in troubled.values("href") if value[:1] != "#"] == ["data:,"]
    assert troubled.values("src") == []


def test_every_link_has_its_place_and_every_place_its_own_name(troubled: Reader) -> None:
    ids = Counter(troubled.values("id"))
    assert [name for name, times in ids.items() if times > 1] == []
    assert {value[1:] for value in troubled.values("href") if value.startswith("#")} <= set(ids)


@pytest.mark.parametrize("name", ["healthy", "troubled", "killed"])
def test_all_fifty_stand_there_with_everything_known_of_them(
    pages: dict[str, Path], catalogue: Catalogue, name: str
) -> None:
    page = Reader(pages[name].read_text())
    text = " ".join(page.text.split())
    framework = load_framework(catalogue)
    for requirement in catalogue:
        assert f"r{requirement.id}" in page.values("id")
        for sentence in [requirement.title, requirement.statement, *(c.statement for c in requirement.clauses)]:
            assert " ".join(sentence.split()) in text, sentence
        for criterion, how in (supports.criteria if (supports := framework.of(requirement.id)) else {}).items():
            assert f"{criterion} {how}" in text
        for clause in requirement.clauses:
            assert f"r{requirement.id}-{clause.slug}" in page.values("id")


def test_what_a_reader_must_not_miss(troubled: Reader, catalogue: Catalogue) -> None:
    for sentence in (
        "The deployment is not as it was found",
        "cp2 is still cut off: ssh: no route to host",
        "loosened, at most 30 s (api_write_gap) in the catalogue",
        "service production/api had no ready endpoint for 10 s",
        "1 node, 9 pods, at most 90 s",
        "the API endpoint 3.2 of 60 s",
        "network and process namespaces of one machine",
        "HTTP 403: pods is forbidden",
        "bind the disruptor",
        "the check itself failed: ValueError: '<b>' is not a rule",
        "not applicable: the cloud's network has no overlay",
        "380 more that do not hold",
        "And 80 more, all of them in findings.jsonl.",
        catalogue.digest,
        catalogue.remedy("1.1", "write-gap"),
    ):
        assert sentence in troubled.text, sentence


def section(page: Path, name: str) -> str:
    """The text of one section, in one line."""
    html = page.read_text()
    start = html.index(f'id="{name}"')
    inside = html[start : html.index("</section>", start)]
    return " ".join(unescape(re.sub("<[^>]*>", " ", inside)).split())


def test_every_waiver_stands_there_with_what_it_covers_or_what_is_wrong_with_it(pages: dict[str, Path]) -> None:
    text = section(pages["troubled"], "waivers")
    assert "1.4 secrets-read Group/system:authenticated Covers 1 breach" in text
    for flaw in ("not seen: ", "unused: ", "self-approved: ", "too wide: ", "expired: "):
        assert f"Covers nothing : {flaw}" in text, flaw
    assert "approved by J. Doe" in " ".join(Reader(pages["troubled"].read_text()).text.split())


def test_a_waiver_hides_no_verdict(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue)
    drawn = [render(store.read(), catalogue, waivers=some).read_text() for some in (Waivers(), waivers())]
    looks = [Counter(Reader(page).values("data-look")) for page in drawn]
    assert looks[0] == looks[1]
    assert "None: nothing here is accepted for a time." in drawn[0]
    assert "1 of 2 broken subjects, for a time" in drawn[1]
    assert "1 of 2 broken subjects" not in drawn[0]


def test_a_loosened_limit_is_dated_by_the_runs_before_it(tmp_path: Path, catalogue: Catalogue) -> None:
    make_run(tmp_path, catalogue, healthy, gap_s=3.2, overrides={})
    first = make_run(tmp_path, catalogue, healthy, gap_s=3.2)
    assert "at most 45 s (api_write_gap) at most 30 s (api_write_gap) this run" in _dated(first, catalogue)
    second = make_run(tmp_path, catalogue, healthy, gap_s=3.2)
    assert f"at most 30 s (api_write_gap) run {first.run_id}, 2026-11-24" in _dated(second, catalogue)


def _dated(store: RunStore, catalogue: Catalogue) -> str:
    return section(render(store.read(), catalogue), "caveats")


def test_what_was_left_out_and_what_was_not_seen_are_told_apart(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue, finish=False)
    chosen = [(r.requirement, r.clause) for r in store.read().results if r.clause != "dns-names"]
    names = [(r.requirement, r.clause) for r in store.read().results]
    lines = (store.path / "findings.jsonl").read_text().splitlines(keepends=True)
    (store.path / "findings.jsonl").write_text("".join(line for line in lines if '"clause":"dns-names"' not in line))
    summary = summarise(store.run_id, catalogue, chosen, LOOSENED)
    store.finish(replace(summary, checks=tuple(names), requirements=("1.1", "1.3", "1.4", "10.1")))
    text = section(render(store.read(), catalogue), "unseen")
    assert "Forbidden · 1 clause of 1 requirement" in text
    assert "cannot speak of 1 clause of 1 requirement that have a check" in text
    assert "They were left out: only 1.1, 1.3, 1.4, 10.1. 1.3 dns-names" in text


def test_a_killed_run_does_not_claim_more_than_it_saw(pages: dict[str, Path]) -> None:
    page = Reader(pages["killed"].read_text())
    assert "The run was interrupted" in page.text
    assert "nothing vouches for its files" in page.text
    assert "None: every component is the real one." not in page.text


def test_drawn_again_it_is_the_same_page(pages: dict[str, Path], catalogue: Catalogue) -> None:
    page = pages["troubled"]
    before = page.read_bytes()
    assert render(RunStore.open(page.parent).read(), catalogue, waivers=waivers()).read_bytes() == before


def test_a_fact_that_is_gone_takes_only_its_drawing_along(tmp_path: Path, catalogue: Catalogue) -> None:
    store = make_run(tmp_path, catalogue)
    for file in (store.path / "facts").iterdir():
        file.unlink()
    text = Reader(render(store.read(), catalogue).read_text()).text
    assert "The timeline cannot be drawn: cannot read the fact" in text
    assert "writes stopped for 51.05 s" in text


# --- the timeline


def test_the_gap_drawn_is_the_gap_judged() -> None:
    silence = outage(3.2).longest_silence
    assert silence is not None
    assert silence[1] - silence[0] == pytest.approx(3.25, abs=0.06)
    drawn = timeline(drawn_of(outage(3.2)), Limit("api_write_gap", 30, "s", "at_most"))
    assert drawn.count("<svg") == len(WIDTHS)
    assert "3.25 s, at most 30 s" in drawn
    assert "broken" not in drawn
    assert "broken" in timeline(drawn_of(outage(31)), Limit("api_write_gap", 30, "s", "at_most"))


def test_without_an_acknowledged_write_no_gap_is_drawn() -> None:
    silent = replace(outage(), writes=tuple(replace(w, acknowledged=False) for w in outage().writes))
    assert silent.longest_silence is None
    assert 'class="gap"' not in timeline(drawn_of(silent), None)


@pytest.mark.parametrize(
    ("kind", "told", "gap"),
    [
        ("postgres_failover", "db-1 was killed at 10.0 s. ", "22.00 s, at most 30 s"),
        ("postgres_node_loss", "w1 with db-1 was cut off from", "22.00 s, at most 30 s"),
        ("redis_failover", "redis-0 was killed and kept down from", "22.00 s, at most 30 s"),
    ],
)
def test_every_fault_under_a_writer_is_drawn(kind: str, told: str, gap: str) -> None:
    seen = drawn_of(build(kind, {"silent": [[11, 32]]}))
    drawn = timeline(seen, Limit("gap", 30, "s", "at_most"))
    assert told in drawn
    assert gap in drawn
    assert drawn.count("<svg") == len(WIDTHS)


def test_the_time_of_a_check_stands_beside_what_the_system_itself_needed() -> None:
    events = [{"at": 10.0, "what": "killed"}, {"at": 60.0, "what": "db-1 streams as a replica"}]
    seen = drawn_of(build("postgres_failover", {"events": events, "timers": {"failoverDelay": 0}}))
    text = Reader(timeline(seen, None)).text
    assert "The system's own timersfailoverDelay 0 s" in text
    assert "The system needed50.0 s from the fault on, until: db-1 streams as a replica" in text
    assert "The check took75.0 s (1.50 times that)" in text


# --- markup


@given(st.text(), st.text())
def test_whatever_the_text_it_is_read_back_as_text(content: str, attribute: str) -> None:
    page = Reader(tag("p", tag("b", content, title=attribute)))
    assert page.tags == {"p": 1, "b": 1}
    assert page.text == visible(content)
    assert page.values("title") == [visible(attribute)]
