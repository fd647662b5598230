"""Two thousand malformed documents: whatever a target, the catalogue, waivers or a profile hold, never a traceback.

Three ways to be wrong, each for each document: bytes that are no text, a real document with a few characters or lines
changed, and well-formed YAML of the wrong shape made of the document's own keys.
"""

import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.catalogue import REQUIREMENTS, Catalogue, load_catalogue
from policies.documents import DocumentError, Problem
from policies.profiles import PROFILES, load_profile
from policies.waivers import load_waivers
from targets.model import TARGETS, load_target

CATALOGUE: Final[Catalogue] = load_catalogue()

WAIVER: Final = """\
waivers:
  - requirement: "1.4"
    clause: wildcards
    subject: ServiceAccount/ci/deployer
    reason: Legacy pipeline.
    risk: It can change any object in ci.
    requested_by: M. Roe
    approver: J. Doe
    ticket: SEC-12
    issued: 2026-01-01
    expires: 2026-03-01
"""

# By document: a real one, the file name to write, and how the product loads it.
DOCUMENTS: Final[dict[str, tuple[str, str, Callable[[Path], object]]]] = {
    "target": ((TARGETS / "lab.yaml").read_text(), "target.yaml", lambda file: load_target(str(file))),
    "catalogue": (
        (REQUIREMENTS / "r10_cost.yaml").read_text(),
        "r10.yaml",
        lambda file: load_catalogue(file.parent),
    ),
    "waivers": (WAIVER, "waivers.yaml", partial(load_waivers, CATALOGUE)),
    "profile": (
        (PROFILES / "golive.yaml").read_text(),
        "golive.yaml",
        lambda file: load_profile("golive", CATALOGUE, file.parent),
    ),
}

quick = partial(
    settings,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

NASTY: Final = (
    "\t", ":", ": ", "-", "- ", "?", "[", "]", "{", "}", "&a ", "*a", "!", "!!int ", "|", ">", "'", '"', "#", "%", "@",
    "`", "\\", "\x00", "\x07", "\x85", "\u2028", "\ufeff", "\U0001f600", "---\n", "...\n", ".nan", ".inf", "1e999",
    "9" * 5000, "null", "~", "true", "[" * 60, "{" * 60, "\n", " ", "<<: ", "=", '"\\ud800"', "0x1F", "2026-02-30",
)  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(NASTY),
    st.dates(),
    st.binary(max_size=8),
)


def holds(name: str, folder: Path, raw: bytes) -> None:
    """Loads or is refused with sentences that name the file and a line in it; anything else fails the test."""
    _, file_name, loader = DOCUMENTS[name]
    file = folder / file_name
    file.write_bytes(raw)
    problems = refusal(loader, file)
    # NEL and the Unicode line ends count as lines for YAML, not for bytes.
    lines = len(raw.splitlines()) + 1 + raw.count(b"\xc2\x85") + raw.count(b"\xe2\x80")
    for problem in problems:
        assert file_name in problem.file
        assert problem.problem
        assert problem.line is None or 1 <= problem.line <= lines


def refusal(loader: Callable[[Path], object], file: Path) -> tuple[Problem, ...]:
    """What was wrong; nothing where the document was accepted."""
    try:
        loader(file)
    except DocumentError as error:
        return error.problems or (Problem("", None, "", ""),)
    return ()


@pytest.mark.parametrize("name", DOCUMENTS)
@quick(max_examples=120)
@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_bytes(name: str, tmp_path: Path, raw: bytes) -> None:
    holds(name, tmp_path, raw)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[float, str, str]]:
    kinds = st.sampled_from(["insert", "delete", "replace", "drop line", "double line", "indent", "swap value", "cut"])
    place = st.floats(0, 1, exclude_max=True)
    text = st.one_of(st.sampled_from(NASTY), st.text(string.printable, max_size=5))
    return draw(st.lists(st.tuples(place, kinds, text), min_size=1, max_size=4))


def change(text: str, place: float, kind: str, new: str) -> str:
    at = int(place * len(text))
    lines = text.splitlines(keepends=True) or [""]
    row = min(int(place * len(lines)), len(lines) - 1)
    match kind:
        case "insert":
            return text[:at] + new + text[at:]
        case "delete":
            return text[:at] + text[at + 1 + len(new) :]
        case "replace":
            return text[:at] + new + text[at + len(new) :]
        case "cut":
            return text[:at]
        case "drop line":
            lines.pop(row)
        case "double line":
            lines.insert(row, lines[row])
        case "indent":
            lines[row] = "  " + lines[row]
        case "swap value":
            key, colon, _ = lines[row].partition(":")
            lines[row] = f"{key}{colon} {new}\n"
    return "".join(lines)


@pytest.mark.parametrize("name", DOCUMENTS)
@quick(max_examples=330)
@given(steps=changes())
def test_changed_documents(name: str, tmp_path: Path, steps: list[tuple[float, str, str]]) -> None:
    text = DOCUMENTS[name][0]
    for step in steps:
        text = change(text, *step)
    holds(name, tmp_path, text.encode("utf-8", "surrogatepass"))


def paths(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in inner for path in paths(item, (*here, key)))]


def keys(value: Any) -> set[str]:
    return {str(step) for path in paths(value) for step in path}


def with_value(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {key: with_value(item, path[1:], new) if key == path[0] else item for key, item in value.items()}
    return [with_value(item, path[1:], new) if index == path[0] else item for index, item in enumerate(value)]


def shapes_for(text: str) -> tuple[Any, st.SearchStrategy[tuple[str | int, ...]], st.SearchStrategy[Any]]:
    """The document's data, a place in it, and something to put there."""
    document = yaml.safe_load(text)
    names = st.one_of(st.sampled_from(sorted(keys(document))), st.text(max_size=5))

    def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3))

    return document, st.sampled_from(paths(document)), st.recursive(scalars, wider, max_leaves=8)


SHAPES: Final = {name: shapes_for(text) for name, (text, _, _) in DOCUMENTS.items()}


@pytest.mark.parametrize("name", DOCUMENTS)
@quick(max_examples=220)
@given(data=st.data())
def test_wrong_shapes(name: str, tmp_path: Path, data: st.DataObject) -> None:
    document, places, shapes = SHAPES[name]
    changed = with_value(document, data.draw(places), data.draw(shapes))
    holds(
        name, tmp_path, yaml.safe_dump(changed, allow_unicode=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    )
