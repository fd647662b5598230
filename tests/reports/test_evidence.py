"""Whatever was altered is found and named by its place, and what was not altered always passes."""

from __future__ import annotations

import random
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any, Final

import msgspec
import pytest

from harness.verdict import decide
from policies.catalogue import Catalogue
from policies.facts.base import Fact
from policies.limits import Limit
from reports.canonical import compact, pretty
from reports.chain import breaks, links
from reports.evidence import Checked, CheckedStore, check
from reports.model import Manifest
from reports.rejudge import rule_named
from reports.signing import PublicKey, SigningKey, generate, load_public_key, load_signing_key, sign, statement
from reports.store import MANIFEST, RESULTS, SIGNATURE, RunStore, StoreError
from tests.reports.judged import CHECKOUT, all_cases, judged_run, one_of_each

CHANGES: Final = 1000


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """A key made by `verify keygen`."""
    file = tmp_path_factory.mktemp("key", numbered=False) / "key.pem"
    generate(file)
    return load_signing_key(str(file))


@pytest.fixture(scope="session")
def trusted(key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> list[PublicKey]:
    """Its public half."""
    return [load_public_key(tmp_path_factory.getbasetemp() / "key" / "key.pem.pub")]


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue, key: SigningKey) -> Path:
    """A signed run that judged every clause there is a rule for. It is copied, never touched."""
    return judged_run(tmp_path_factory.mktemp("signed"), catalogue, key=key).path


@pytest.fixture
def run(signed: Path, tmp_path: Path) -> Path:
    """A copy of it, alone in a folder."""
    copied = tmp_path / "runs" / signed.name
    shutil.copytree(signed, copied)
    return copied


def checked(path: Path, keys: list[PublicKey]) -> Checked:
    """The one run, and the chain around it in order."""
    found = check(path, keys, decide)
    assert not found.problems, found.problems
    (one,) = found.runs
    return one


def places(found: Checked | CheckedStore) -> list[str]:
    """Where something is wrong."""
    return [problem.place for problem in found.problems]


# --- what was not altered


def test_an_untouched_run_passes(signed: Path, trusted: list[PublicKey], key: SigningKey) -> None:
    found = checked(signed, trusted)
    assert not found.problems
    assert not found.notes
    assert found.finished
    assert found.signed_by == key.id
    assert found.again == found.results == len(list(one_of_each()))
    assert found.files == sum(file.is_file() for file in signed.rglob("*")) - 2


def test_every_rule_finds_the_same_on_what_was_recorded() -> None:
    """Also where the system gave its keys in another order: what is recorded is sorted."""
    for case in all_cases():
        recorded = [_as_recorded(fact) for fact in case.facts]
        shuffled = [msgspec.json.decode(compact_backwards(fact), type=type(fact)) for fact in case.facts]
        assert recorded == list(case.facts)
        findings = {compact(tuple(case.function(*facts, case.limits()))) for facts in (case.facts, recorded, shuffled)}
        assert len(findings) == 1, case


def _as_recorded(fact: Fact) -> Fact:
    return msgspec.json.decode(compact(fact), type=type(fact))


def compact_backwards(fact: Fact) -> bytes:
    """A fact as JSON with every object's keys in the opposite order."""

    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: backwards(value[name]) for name in sorted(value, reverse=True)}
        return [backwards(item) for item in value] if isinstance(value, list) else value

    return msgspec.json.encode(backwards(msgspec.json.decode(compact(fact))))


def test_a_run_that_is_not_signed_says_so_and_passes(tmp_path: Path, catalogue: Catalogue) -> None:
    found = checked(judged_run(tmp_path, catalogue).path, [])
    assert found.problems == ()
    assert found.notes == ("not signed: no key; whoever can write here could have changed all of it",)


def test_without_the_public_key_it_says_that_the_signature_was_not_checked(signed: Path) -> None:
    found = checked(signed, [])
    assert found.problems == ()
    assert found.signed_by == ""
    assert "--public-key" in found.notes[0]


def test_an_interrupted_run_verifies_as_far_as_it_came(
    tmp_path: Path, catalogue: Catalogue, trusted: list[PublicKey]
) -> None:
    run = judged_run(tmp_path, catalogue, finish=False).path
    whole = (run / RESULTS).read_bytes()
    for cut in (len(whole), len(whole) - 1, len(whole) // 2, 0):
        (run / RESULTS).write_bytes(whole[:cut])
        found = checked(run, trusted)
        assert found.problems == ()
        assert not found.finished
        assert "interrupted" in found.notes[0]
        assert found.again == whole[:cut].count(b"\n")
    (run / RESULTS).write_bytes(whole.replace(b'"ok":true', b'"ok" :true', 1))
    assert places(checked(run, []))[0].startswith("findings.jsonl line ")
    (run / RESULTS).write_bytes(whole)
    next((run / "facts").iterdir()).unlink()
    assert places(checked(run, []))[0].startswith("findings.jsonl line ")


# --- what was


def test_a_thousand_single_bytes_changed_at_random_are_found_and_named(run: Path, trusted: list[PublicKey]) -> None:
    chance = random.Random(20261124)  # noqa: S311
    files = {file: file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}
    everything = [(file, at) for file, content in files.items() for at in range(len(content))]
    for number in range(CHANGES):
        if number % 2:  # the page is most of the bytes, so that every other change is spread over the files instead
            file = chance.choice(list(files))
            at = chance.randrange(len(files[file]))
        else:
            file, at = chance.choice(everything)
        content = bytearray(files[file])
        content[at] = chance.choice([byte for byte in range(256) if byte != content[at]])
        file.write_bytes(content)
        name = file.relative_to(run).as_posix()
        found = checked(run, trusted)
        line = files[file][:at].count(b"\n") + 1
        place = f"{name} line {line}" if name.endswith(".jsonl") else name
        assert any(problem.altered and named(place, problem.place) for problem in found.problems), (name, at, found)
        file.write_bytes(files[file])
    assert checked(run, trusted).problems == ()


def named(place: str, problem: str) -> bool:
    """Whether a problem is at this place: the file, and the line with nothing more to its number."""
    return re.match(re.escape(place) + r"(?!\d)", problem) is not None


def test_every_line_and_every_fact_is_named_with_its_clause(run: Path, trusted: list[PublicKey]) -> None:
    file = run / RESULTS
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        said = msgspec.json.decode(line)
        clause = f"{said['requirement']} {said['clause']}"
        other = line.replace(b'"test":"suites/', b'"test":"suitez/')
        file.write_bytes(whole.replace(line, other))
        assert places(checked(run, trusted)) == [f"findings.jsonl line {number} ({clause})"]
        file.write_bytes(whole)
        fact = run / "facts" / f"{said['facts'][0]}.json.gz"
        kept = fact.read_bytes()
        fact.unlink()
        found = places(checked(run, trusted))
        assert f"findings.jsonl line {number} ({clause})" in found
        assert any(p.startswith(f"facts/{fact.name} (") and clause in p for p in found)
        fact.write_bytes(kept)


def test_any_file_that_is_gone_is_named(run: Path, trusted: list[PublicKey]) -> None:
    for file in sorted(run.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            file.unlink()
            found = checked(run, trusted)
            assert found.altered
            assert any(place.startswith(file.relative_to(run).as_posix()) for place in places(found)), file
            file.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["facts/notes.txt", "allure-results/7e-result.json", ".hidden", f"facts/{'0' * 64}.json.gz"]
)
def test_a_file_that_was_added_is_named(run: Path, trusted: list[PublicKey], name: str) -> None:
    (run / name).write_bytes(b"{}")
    assert name in places(checked(run, trusted))


def test_a_link_in_the_place_of_a_file_is_named(run: Path, trusted: list[PublicKey], tmp_path: Path) -> None:
    (run / RESULTS).rename(tmp_path / "elsewhere")
    (run / RESULTS).symlink_to(tmp_path / "elsewhere")
    (run / "more").symlink_to(tmp_path)
    assert {RESULTS, "more"} <= set(places(checked(run, trusted)))


def test_lines_taken_out_added_or_put_in_another_order_are_named(run: Path, trusted: list[PublicKey]) -> None:
    file = run / RESULTS
    lines = file.read_bytes().splitlines(keepends=True)

    def after(*changed: bytes) -> list[str]:
        file.write_bytes(b"".join(changed))
        return [str(problem) for problem in checked(run, trusted).problems]

    assert after(*lines[:4], *lines[5:]) == ["findings.jsonl line 5: it was taken out"]
    assert after(*lines[:-1]) == [f"findings.jsonl line {len(lines)}: it was taken out"]
    (added,) = after(*lines[:4], lines[0].replace(b"suites/", b"suitez/"), *lines[4:])
    assert re.fullmatch(r"findings\.jsonl line 5 \(.*\): it was added", added)
    (order,) = after(lines[1], lines[0], *lines[2:])
    assert "another order" in order
    (doubled,) = after(lines[0], *lines)
    assert "doubled" in doubled


def mend(run: Path, change: Callable[[dict[str, Any]], None], line: int = 0) -> Manifest:
    """Change a result, and mend every digest of it in the manifest: what a forger without the key can do."""
    store = RunStore(run)
    manifest = store.read().manifest
    assert manifest is not None
    lines = (run / RESULTS).read_bytes().splitlines()
    said = msgspec.json.decode(lines[line])
    change(said)
    lines[line] = compact(said)
    whole = b"".join(one + b"\n" for one in lines)
    (run / RESULTS).write_bytes(whole)
    mended = msgspec.structs.replace(
        manifest,
        files={**manifest.files, RESULTS: sha256(whole).hexdigest()},
        lines={**manifest.lines, RESULTS: tuple(sha256(one).hexdigest() for one in lines)},
    )
    (run / MANIFEST).write_bytes(pretty(mended))
    return mended


def failed_line(run: Path) -> int:
    """The first result that failed."""
    lines = (run / RESULTS).read_bytes().splitlines()
    return next(n for n, line in enumerate(lines) if msgspec.json.decode(line)["verdict"] == "failed")


def whitewash(said: dict[str, Any]) -> None:
    """A violation becomes a pass."""
    said["verdict"], said["message"] = "passed", ""
    for finding in said["findings"]:
        finding["ok"] = True


def test_a_finding_edited_and_its_digest_mended_fails_the_signature(run: Path, trusted: list[PublicKey]) -> None:
    line = failed_line(run)
    mend(run, whitewash, line)
    found = checked(run, trusted)
    assert found.altered
    assert MANIFEST in places(found)
    assert any("not the one that was signed" in problem.what for problem in found.problems)
    assert any(place.startswith(f"findings.jsonl line {line + 1} (") for place in places(found))


def test_a_finding_edited_and_signed_by_another_key_is_named(
    run: Path, trusted: list[PublicKey], tmp_path: Path
) -> None:
    generate(tmp_path / "other")
    other = load_signing_key(str(tmp_path / "other"))
    mended = msgspec.structs.replace(mend(run, whitewash, failed_line(run)), key=other.id)
    (run / MANIFEST).write_bytes(pretty(mended))
    results = RunStore(run).read().results
    (run / SIGNATURE).write_bytes(sign(statement(mended, pretty(mended), results), other))
    found = checked(run, trusted)
    assert any(f"signed by the key {other.id[:12]}, which is not one that you trust" in p.what for p in found.problems)
    # And whoever does trust that key still sees that the rules find otherwise.
    again = checked(run, [load_public_key(tmp_path / "other.pub")])
    assert [p for p in places(again) if p.startswith(RESULTS)]
    assert not [p for p in places(again) if p in {MANIFEST, SIGNATURE}]


def test_a_signature_taken_away_with_its_mention_is_no_run_that_was_never_signed(
    run: Path, trusted: list[PublicKey]
) -> None:
    manifest = RunStore(run).read().manifest
    assert manifest is not None
    (run / SIGNATURE).unlink()
    assert SIGNATURE in places(checked(run, []))
    (run / MANIFEST).write_bytes(pretty(msgspec.structs.replace(manifest, key="", unsigned="no key was named")))
    assert MANIFEST in places(checked(run, trusted))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (whitewash, "judged again it is"),
        (lambda said: said.update(verdict="passed"), "its verdict is passed, and its findings come to failed"),
        (lambda said: said.update(findings=[]), "a finding more"),
        (lambda said: said["findings"].append(said["findings"][0]), "a finding is not there"),
        (lambda said: said.update(rule=""), "without a rule"),
        (lambda said: said.update(rule="os.system"), "there is no rule 'os.system'"),
        (lambda said: said.update(facts=[]), "judged again, the rule breaks: TypeError"),
        (lambda said: said.update(facts=["0" * 64]), "cannot read the fact"),
        (lambda said: said.update(run="another"), "it is of run another"),
        (lambda said: said.update(limits={"much": "at most 3 x (much)"}), "no such limit"),
    ],
)
def test_what_is_forged_without_a_signature_is_seen_by_judging_again(
    tmp_path: Path, catalogue: Catalogue, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    run = judged_run(tmp_path, catalogue).path
    line = failed_line(run)

    def forge(said: dict[str, Any]) -> None:
        if says == "without a rule":
            said["verdict"] = "passed"
        change(said)

    mend(run, forge, line)
    found = checked(run, [])
    (problem,) = found.problems
    assert problem.place.startswith(f"findings.jsonl line {line + 1} (")
    assert says in problem.what


@pytest.mark.parametrize(
    "name", ["", "control_plane", "control_plane._pressure", "common.Iterator", "os.path", "a.b.c"]
)
def test_only_rules_of_ours_are_called(name: str) -> None:
    with pytest.raises(LookupError, match="there is no rule"):
        rule_named(name)


def test_every_limit_is_read_as_it_is_written(catalogue: Catalogue) -> None:
    limits = [x for r in catalogue for c in r.clauses for x in catalogue.limits(r.id, c.slug, {}).values()]
    assert len(limits) > 40
    assert [Limit.read(limit.text()) for limit in limits] == limits
    with pytest.raises(ValueError, match="is no limit"):
        Limit.read("as many as you like")


# --- a rule that changed since


def test_a_rule_that_changed_since_is_named_with_its_commit(
    tmp_path: Path, catalogue: Catalogue, repository: Callable[..., str]
) -> None:
    shutil.copytree(CHECKOUT / "policies", tmp_path / "code/policies", ignore=shutil.ignore_patterns("__pycache__"))
    before = repository("add", ".") or repository("commit", "-qm", "Rules") or repository("rev-parse", "HEAD")
    case = next(c for c in one_of_each() if c.rule.startswith("control_plane.") and c.expect == "failed")
    run = judged_run(tmp_path / "runs", catalogue, cases=[case], made_by=before).path
    mend(run, whitewash)

    def problem() -> tuple[bool, str]:
        (one,) = check(run, [], decide, tmp_path / "code").runs
        (found,) = one.problems
        return found.altered, found.what

    altered, what = problem()
    assert altered, what
    # Another rule that changed is no excuse.
    (tmp_path / "code/policies/rules/network.py").write_text("# other\n")
    repository("commit", "-qam", "Another rule")
    altered, what = problem()
    assert altered, what
    file = tmp_path / "code/policies/rules/control_plane.py"
    file.write_text(file.read_text() + "# stricter\n")
    altered, what = problem()
    assert not altered
    assert "policies/rules/control_plane.py changed, by changes that are in no commit" in what
    repository("commit", "-qam", "Stricter rule")
    altered, what = problem()
    assert not altered
    short = repository("rev-parse", "--short", "HEAD")
    assert f"since commit {before[:10]}, which judged it, policies/rules/control_plane.py changed" in what
    assert f"by commit {short} (Stricter rule)" in what


@pytest.mark.parametrize(
    ("made_by", "says"),
    [
        ("f" * 40, "which is not in this checkout"),
        ("--output=/tmp/x", "not the name of a commit"),
        ("", "no commit"),
    ],
)
def test_a_commit_that_cannot_be_found_is_said_and_never_a_pass(
    tmp_path: Path, catalogue: Catalogue, repository: Callable[..., str], made_by: str, says: str
) -> None:
    (tmp_path / "code" / "file").touch()
    repository("add", ".")
    repository("commit", "-qm", "One")
    run = judged_run(tmp_path / "runs", catalogue, made_by=made_by).path
    mend(run, whitewash, failed_line(run))
    (one,) = check(run, [], decide, tmp_path / "code").runs
    assert len(one.problems) == 1
    assert says in one.problems[0].what


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., str]:
    """git in an empty repository, tmp_path/code."""
    (tmp_path / "code").mkdir()

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path / "code", check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    return git


# --- the chain


@pytest.fixture
def runs(tmp_path: Path, catalogue: Catalogue) -> list[Path]:
    """Five runs, one after the other, with little in them."""
    few = list(one_of_each())[:2]
    made = [judged_run(tmp_path / "chain", catalogue, cases=few) for _ in range(5)]
    return [store.path for store in made]


def test_runs_follow_each_other(runs: list[Path]) -> None:
    there = links(runs[0].parent)
    assert [there[run.name].link.number for run in runs] == [1, 2, 3, 4, 5]
    assert there[runs[0].name].link.previous == there[runs[0].name].link.previous_run == ""
    for before, after in pairwise(runs):
        assert there[after.name].link.previous_run == before.name
        assert there[after.name].link.previous == sha256((before / MANIFEST).read_bytes()).hexdigest()
    found = check(runs[0].parent, [], decide)
    assert found.confirmed
    assert len(found.runs) == 5


@pytest.mark.parametrize("gone", [[0], [1], [2], [3], [1, 2], [0, 1, 2]])
def test_a_run_removed_is_named(runs: list[Path], gone: list[int]) -> None:
    for number in gone:
        shutil.rmtree(runs[number])
    found = check(runs[0].parent, [], decide)
    assert found.altered
    (problem,) = found.problems
    last = gone[-1]
    assert problem.place == f"chain at run {runs[last + 1].name}"
    assert f"the manifest of run {runs[last].name}, number {last + 1}, is not there" in problem.what
    assert ("from number" in problem.what) == (len(gone) > 1)
    # The run that follows tells it as well, when it alone is asked; the others have nothing to do with it.
    assert places(check(runs[last + 1], [], decide)) == [problem.place]
    assert places(check(runs[4], [], decide)) == ([] if last + 1 != 4 else [problem.place])


def test_the_newest_run_removed_is_missed_by_the_pointer(runs: list[Path]) -> None:
    shutil.rmtree(runs[-1])
    assert [str(p) for p in check(runs[0].parent, [], decide).problems] == [
        f"latest: it points at run {runs[-1].name}, which is not there"
    ]


def test_a_run_that_was_made_to_look_interrupted_is_named(runs: list[Path]) -> None:
    (runs[2] / MANIFEST).unlink()
    for asked in (runs[2], runs[2].parent):
        assert f"manifest of run {runs[2].name}" in check(asked, [], decide).problems[0].what


def test_a_manifest_written_anew_is_named_by_the_run_after_it(runs: list[Path]) -> None:
    mend(runs[1], lambda said: said.update(test="suites/other.py"))
    for asked in (runs[1], runs[2], runs[1].parent):
        found = check(asked, [], decide)
        assert places(found) == [f"chain at run {runs[2].name}"]
        assert f"manifest.json of run {runs[1].name} was altered" in found.problems[0].what


def test_a_run_put_in_later_is_named(runs: list[Path]) -> None:
    forged = runs[0].parent / "20990101-000000-abcdef"
    shutil.copytree(runs[3], forged)
    found = check(runs[0].parent, [], decide)
    assert any("put in later" in problem.what for problem in found.problems)


def test_a_run_copied_away_passes_and_says_that_its_neighbours_are_missing(runs: list[Path], tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / runs[3].name
    shutil.copytree(runs[3], alone)
    found = checked(alone, [])
    assert found.problems == ()
    assert f"run {runs[2].name}, which it follows, does not lie beside it" in found.notes


def test_runs_that_end_together_follow_each_other(tmp_path: Path, catalogue: Catalogue) -> None:
    few = list(one_of_each())[:1]
    threads = [Thread(target=judged_run, args=(tmp_path, catalogue), kwargs={"cases": few}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = links(tmp_path)
    assert sorted(one.link.number for one in there.values()) == [1, 2, 3, 4]
    assert list(breaks(there)) == []


# --- what cannot be checked


def test_a_folder_without_runs_is_said_to_be_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StoreError, match=r"holds no run|cannot read"):
            check(path, [], decide)


def test_the_folder_keeps_its_modes(signed: Path) -> None:
    """Nothing that a check does writes into a run."""
    before = {f: (f.stat().st_mtime_ns, stat.S_IMODE(f.stat().st_mode)) for f in signed.rglob("*")}
    check(signed, [], decide)
    assert {f: (f.stat().st_mtime_ns, stat.S_IMODE(f.stat().st_mode)) for f in signed.rglob("*")} == before
