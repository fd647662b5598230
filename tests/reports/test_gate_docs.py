"""The screens in docs/gate.md are what the product prints; `python -m tests.reports.test_gate_docs` draws them anew."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from rich.console import Console, RenderableType

from policies.finding import Finding
from policies.profiles import Profile, load_profile
from policies.waivers import Waivers
from reports.diff import diff_screen, difference
from reports.gate_screen import gate_screen
from reports.history import history, history_screen
from tests.reports.gate_runs import (
    CATALOGUE,
    GOLIVE,
    LOOSENED,
    LOOSENED_TEXT,
    NIGHTLY,
    a_run,
    a_waiver,
    ask,
    broken,
    unseen,
)

DOCUMENT = Path(__file__).parents[2] / "docs/gate.md"
BLOCK = re.compile(r"(<!-- (verify [^\n]*) -->\n```\n)(.*?)(```\n)", re.DOTALL)
KEY = "5d41c0ffee5eed0ddba11deadbeefcafe0123456789abcdef0123456789abcdef"

DEPLOYER = "ServiceAccount/ci/deployer"


def a_gap(seconds: float, limit: str = "at most 30 s (api_write_gap)") -> tuple[Finding, ...]:
    return (Finding("api endpoint", limit, f"writes stopped for {seconds:.2f} s, from 12.04 s on", True),)


NIGHT_BEFORE = a_run(
    34,
    {("1.4", "wildcards"): broken(DEPLOYER, "Group/developers"), ("1.1", "write-gap"): a_gap(3.21)},
    name="20261123-020000-51c0de",
    exit_code=1,
)
NIGHT = a_run(
    10,
    {
        ("1.4", "wildcards"): broken(DEPLOYER),
        ("1.3", "mtu"): unseen("cni0 on w1"),
        ("1.1", "write-gap"): a_gap(9.84, LOOSENED_TEXT),
    },
    name="20261124-020000-7a11ed",
    overrides=LOOSENED,
    exit_code=1,
)
AT_NOON = a_run(0.5, clauses=(("1.3", "mtu"),), name="20261124-113000-90d0ne", overrides=LOOSENED)


def screens() -> dict[str, RenderableType]:
    """By the command that prints each."""
    runs = (NIGHT_BEFORE, NIGHT, AT_NOON)
    waiver = a_waiver()

    def gate(profile: Profile, *keys: str) -> RenderableType:
        return gate_screen(ask(*runs, profile=profile, waivers=(waiver,), keys=keys), CATALOGUE, profile)

    return {
        "verify gate --profile nightly --target lab": gate(NIGHTLY),
        "verify gate --profile golive --target lab --public-key verify-key.pem.pub": gate(GOLIVE, KEY),
        f"verify diff {NIGHT_BEFORE.name} {NIGHT.name}": diff_screen(
            difference(NIGHT_BEFORE.record, NIGHT.record, CATALOGUE)
        ),
        "verify history --target lab": history_screen(history(runs, CATALOGUE, "lab"), CATALOGUE),
    }


def drawn() -> str:
    """The document with its screens drawn anew."""
    made = screens()

    def draw(found: re.Match[str]) -> str:
        console = Console(width=80, no_color=True, highlight=False)
        with console.capture() as capture:
            console.print(made[found[2]])
        lines = (line.rstrip() for line in capture.get().splitlines())
        return found[1] + "\n".join(lines).strip("\n") + "\n" + found[4]

    return BLOCK.sub(draw, DOCUMENT.read_text())


def test_the_screens_in_the_document_are_what_is_printed() -> None:
    assert set(screens()) == {found[2] for found in BLOCK.finditer(DOCUMENT.read_text())}
    assert DOCUMENT.read_text() == drawn(), "run: python -m tests.reports.test_gate_docs"


def test_the_waiver_in_the_document_is_one() -> None:
    text = DOCUMENT.read_text()
    example = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    (waiver,) = Waivers.model_validate(example, strict=False).waivers
    assert waiver.names(DEPLOYER)


def test_the_profiles_in_the_document_are_the_published_ones() -> None:
    text = DOCUMENT.read_text()
    for name, hours in (("nightly", "26 h"), ("golive", "inspect 4 h, probe 24 h"), ("soc2", "31 days")):
        assert re.search(rf"\| `{name}` \|.*{hours}", text)
    nightly, golive, soc2 = (load_profile(name, CATALOGUE) for name in ("nightly", "golive", "soc2"))
    assert set(nightly.fresh_hours.values()) == {26}
    assert golive.fresh_hours == {"inspect": 4, "probe": 24, "load": 7 * 24, "disrupt": 7 * 24}
    assert soc2.fresh_hours == {"inspect": 7 * 24, "probe": 7 * 24, "load": 31 * 24, "disrupt": 31 * 24}


if __name__ == "__main__":
    DOCUMENT.write_text(drawn())
