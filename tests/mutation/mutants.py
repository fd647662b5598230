"""Runs mutmut in a copy of what judges, and reads what became of each mutant.

In a copy, because mutmut writes its mutants into the folder it is started in.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from policies import rules

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("mutmut.toml")
COPIED = ("policies", "harness", "fixtures", "reports", "targets", "tests/rules", "tests/mutation", "tests/harness")
KILLED = frozenset({1, 3})  # mutmut's own codes: a test failed, or pytest fell over
RAN_ON = frozenset({36, 24, -24, 152, 255})  # stopped after many times what the tests take: seen to differ as well
SHOWN_LINES = 40  # of what mutmut said, where it did not come to its end


class MutationError(Exception):
    """mutmut could not be run to its end; the text says what it said."""


@dataclass(frozen=True, order=True)
class Function:
    """A function or a method, ``Limit.allows``, of a file."""

    file: str
    name: str


@dataclass(frozen=True, order=True)
class Mutant:
    """One change of one function. Known by how it reads, so that an edit elsewhere makes no other mutant of it."""

    function: Function
    was: str
    """The lines that differ, stripped, as they are in the source."""
    becomes: str
    """The same, as they are in the mutant."""


@dataclass(frozen=True)
class Outcome:
    """What became of the mutants of some functions."""

    killed: int
    survivors: frozenset[Mutant]


def functions() -> Iterator[Function]:
    """Each function that mutmut changes: those at the top of a module or of a class, without a decorator."""
    for pattern in tomllib.loads(CONFIGURATION.read_text("utf-8"))["tool"]["mutmut"]["only_mutate"]:
        for file in sorted(ROOT.glob(pattern)):
            if file.parent.name == "rules" and file.stem not in {*rules.__all__, "common"}:
                continue  # no part of a run yet
            for name in _names(ast.parse(file.read_text("utf-8"))):
                yield Function(str(file.relative_to(ROOT)), name)


def _names(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and {ast.unparse(d) for d in node.decorator_list} <= {"classmethod"}:
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _names(node))


def part_of(chosen: Sequence[Function], part: int, parts: int) -> list[Function]:
    """The functions of one part (from 0). A function's name decides, so that it stays in its part as others come."""
    return [f for f in chosen if crc32(f"{f.file} {f.name}".encode()) % parts == part]


def run(chosen: Sequence[Function]) -> Outcome:
    """Change these functions, one place at a time, and run the quick tests against each. Raises MutationError."""
    with tempfile.TemporaryDirectory(prefix="finbot-mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(CONFIGURATION, copy / "pyproject.toml")
        shutil.copy(ROOT / "pytest.ini", copy)
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count() or 1)]
        command += [f"{f.file.removesuffix('.py').replace('/', '.')}.{_mangled(f)}__mutmut_*" for f in chosen]
        ended = subprocess.run(
            command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if ended.returncode != 0:
            said = "\n".join(ended.stdout.replace("\r", "\n").splitlines()[-SHOWN_LINES:])
            raise MutationError(f"mutmut ended with {ended.returncode} and said:\n{said}")
        return _outcome(copy / "mutants", chosen)


def _mangled(function: Function) -> str:
    """What mutmut's copies of a function are called, but for the number."""
    owner, _, name = function.name.rpartition(".")
    return f"xǁ{owner}ǁ{name}" if owner else f"x_{name}"


def _outcome(mutants: Path, chosen: Sequence[Function]) -> Outcome:
    killed, survivors = 0, set()
    for file in sorted({function.file for function in chosen}):
        known = {_mangled(function): function for function in chosen if function.file == file}
        source = (mutants / file).read_text("utf-8")
        copies = {node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
        codes: dict[str, int | None] = json.loads((mutants / f"{file}.meta").read_text("utf-8"))["exit_code_by_key"]
        for key, code in codes.items():
            name = key.rpartition(".")[2]
            original = name.rpartition("__mutmut_")[0]
            if original not in known:
                continue
            if code in KILLED | RAN_ON:
                killed += 1
            else:
                before, after = (_lines(source, copies[each]) for each in (f"{original}__mutmut_orig", name))
                survivors.add(_mutant(known[original], before, after))
    return Outcome(killed, frozenset(survivors))


def _lines(source: str, function: ast.FunctionDef) -> list[str]:
    """The lines of a function, without the first, which names it."""
    return [line.strip() for line in (ast.get_source_segment(source, function) or "").splitlines()[1:]]


def _mutant(function: Function, before: Sequence[str], after: Sequence[str]) -> Mutant:
    differ = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    was, becomes = ("\n".join(line[1:] for line in differ if line[0] == sign) for sign in "-+")
    return Mutant(function, was, becomes)
