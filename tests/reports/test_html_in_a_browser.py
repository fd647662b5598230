"""The page as people meet it: on a desk and on a phone, dark and light, printed, by keyboard, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from tests.reports.browser import Browser

SIZES = {"desk": (1280, 900), "phone": (390, 844)}

CELLS = """
[...document.querySelectorAll('.cell')].map(cell => {
  const box = cell.getBoundingClientRect();
  const place = document.getElementById(cell.getAttribute('href').slice(1));
  return {seen: box.width > 40 && box.height > 20 && box.left >= 0 && box.right <= innerWidth,
          leads: place !== null && place.matches('details.requirement'), text: cell.innerText};
})"""

# Text whose contrast with what lies behind it is below what WCAG 2.2 AA asks (4.5, or 3 where it is large).
FAINT = """
(() => {
  const parse = (c) => { const p = c.match(/[\\d.]+/g).map(Number); return p.length > 3 ? p : [...p, 1]; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const linear = (v) => (v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
  const light = (c) => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const known = new Map();
  const behind = (e) => {
    if (!e) return [255, 255, 255, 1];
    if (!known.has(e)) known.set(e, over(parse(getComputedStyle(e).backgroundColor), behind(e.parentElement)));
    return known.get(e);
  };
  const found = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const e = node.parentElement, drawn = e.closest('svg');
    // What is hidden, and numbers in markers, whose ground is a circle in the ink of the page.
    if (!node.data.trim() || e.closest('script, style, .said, .marker') || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), back = behind(drawn ? e.closest('figure') : e);
    const ink = over(parse(drawn ? style.fill : style.color), back);
    const [dark, bright] = [light(ink), light(back)].sort((x, y) => x - y);
    const enough = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if ((bright + .05) / (dark + .05) < enough) found.add(`${node.data.trim().slice(0, 40)}: ${style.color}`);
  }
  return [...found];
})()"""


# What axe-core finds wrong; contrast is left to FAINT, which also reads drawings.
WRONG = """
axe.run(document, {resultTypes: ['violations'], rules: {'color-contrast': {enabled: false}}})
  .then((found) => found.violations.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 120)}`))"""


@pytest.fixture(scope="module", params=[("desk", False), ("phone", False), ("desk", True), ("phone", True)], ids=str)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    size, dark = request.param
    with Browser(*SIZES[size], dark=dark) as running:
        yield running


@pytest.mark.parametrize("name", ["healthy", "troubled", "killed"])
def test_readable_whole_and_alone(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    assert browser.complaints() == []
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.run("document.title") != "owned"

    cells = browser.run(CELLS)
    assert len(cells) == 50
    assert [cell for cell in cells if not (cell["seen"] and cell["leads"] and cell["text"])] == []

    browser.run("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.run(FAINT) == []
    assert browser.complaints() == []


def test_every_control_and_picture_has_a_name(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["troubled"])
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    said = [(n["role"]["value"], n.get("name", {}).get("value")) for n in nodes if not n["ignored"]]
    speaking = {"link", "button", "img", "heading", "DisclosureTriangle", "rowheader", "columnheader"}
    assert {role for role, _ in said} >= {"link", "button", "heading", "DisclosureTriangle"}
    assert [role for role, name in said if role in speaking and not name] == []
    assert [n for role, n in said if role == "link" and "Highly available control plane" in n and "broken" in n]


@pytest.mark.parametrize("name", ["healthy", "troubled", "killed"])
def test_axe_finds_nothing_wrong(pages: dict[str, Path], name: str) -> None:
    with Browser(*SIZES["desk"]) as browser:
        browser.open(pages[name])
        browser.run((files("axe_core_python") / "axe.min.js").read_text() + "; 0")
        assert browser.run(WRONG) == []
        browser.run("document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button>')")
        assert [line for line in browser.run(WRONG) if line.startswith("button-name")]


def test_headings_descend_one_step_at_a_time(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["troubled"])
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_by_keyboard_alone(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["troubled"])
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.press("Enter")
    browser.until("document.activeElement.id === 'matrix'")
    browser.run("document.querySelector('.cell[href=\"#r1.2\"]').focus()")
    browser.press("Enter")
    browser.until("location.hash === '#r1.2' && document.getElementById('r1.2').open")
    browser.press("Tab")
    assert browser.run("document.getElementById('r1.2').contains(document.activeElement)") is True


def test_showing_one_verdict_hides_the_others_and_a_link_brings_them_back(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["troubled"])
    shown = "[...document.querySelectorAll('details.requirement')].filter((d) => d.checkVisibility()).map((d) => d.id)"
    browser.run("document.querySelector('[data-filter=failed]').click()")
    assert browser.run(shown) == ["r1.1", "r1.4"]
    assert browser.run("document.querySelector('[data-filter=failed]').getAttribute('aria-pressed')") == "true"
    browser.run("location.hash = '#r2.1'")
    browser.until(f"({shown}).length === 50")
    browser.run("document.querySelector('[data-unfold=open]').click()")
    assert browser.run("document.querySelectorAll('details.requirement[open]').length") == 50


def test_printed_every_requirement_is_unfolded(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["healthy"])
    browser.media("print")
    assert browser.run("document.querySelector('#r1\\\\.2 .statement').checkVisibility()") is True
    assert browser.run("document.querySelector('.filter').checkVisibility()") is False
    assert browser.pdf().startswith(b"%PDF")
    browser.media("")
    assert browser.run("document.querySelector('#r1\\\\.2').open") is False


def test_without_scripts_everything_is_there(pages: dict[str, Path]) -> None:
    with Browser(*SIZES["phone"], scripts=False) as browser:
        browser.open(pages["troubled"])
        nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
        names = {node.get("name", {}).get("value", "") for node in nodes if not node["ignored"]}
        assert "Open all" not in names
        assert any("Highly available control plane" in name for name in names)
        assert browser.complaints() == []
