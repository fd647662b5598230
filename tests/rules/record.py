"""What every rule says in every case, word for word, as it was last read and found right: ``recorded/<module>.txt``.

An operator acts on these sentences, so a changed word shows in a review as a changed line. They are written anew by
`python -m tests.rules.record`; the verdicts and subjects that a case must have are stated by hand in ``data/``.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path

from policies.finding import Finding
from tests.rules.cases import Case, load_cases

FOLDER = Path(__file__).parent / "recorded"


def told(case: Case) -> str:
    """One line a finding: verdict or cause, subject, observed, expected and, where the rule has its own, the remedy."""
    return "\n".join(_line(finding) for finding in case.function(*case.facts, case.limits())) or "  (nothing)"


def _line(finding: Finding) -> str:
    words = {True: "holds", False: "violated", None: f"unseen, {finding.cause}"}[finding.ok]
    remedy = f"  -> {finding.remedy}" if finding.remedy else ""
    return f"  {words} | {finding.subject} | {finding.observed} | {finding.expected}{remedy}"


@cache
def recorded() -> dict[str, str]:
    """Case to what its rule said when it was recorded."""
    blocks = [block for file in sorted(FOLDER.glob("*.txt")) for block in file.read_text("utf-8").split("\n\n")]
    return {title: body.rstrip("\n") for title, _, body in (block.partition("\n") for block in blocks)}


def record() -> None:
    """Write what the rules say now."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for case in load_cases():
        files[case.rule.split(".")[0]].append(f"{case}\n{told(case)}\n")
    FOLDER.mkdir(exist_ok=True)
    for module, blocks in files.items():
        (FOLDER / f"{module}.txt").write_text("\n".join(blocks), "utf-8")


if __name__ == "__main__":
    record()
