"""What took part in a run: the commit of the suites and the versions of the tools."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

CHANGES: Final = "+changes"
SHOWN: Final = 3
CODE: Final = ("fixtures", "harness", "policies", "reports", "suites", "targets")
PACKAGES: Final = ("finbot-verify", "pytest", "pytest-testinfra", "requests", "msgspec", "pydantic")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Python's version and those of the packages that are installed, by name."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(folder: Path) -> str:
    """The git commit of ``folder``, with ``+changes`` where tracked files differ from it; empty without git."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}{CHANGES}" if changed else head


def code(folder: Path) -> str:
    """SHA-256 of all code that sees and judges, in a checkout or not: the same code has the same one."""
    files = sorted(file for part in CODE for file in (folder / part).rglob("*.py"))
    digests = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def changed_since(folder: Path, recorded: str, paths: Sequence[str]) -> str:
    """How files of a checkout differ from the commit that ``commit`` gave earlier, and by which commits, as half a
    sentence; empty where they are the same, or where there is no git to say otherwise.
    """
    here = commit(folder)
    if not here or (recorded == here and not recorded.endswith(CHANGES)):
        return ""
    base, now = recorded.removesuffix(CHANGES), here.removesuffix(CHANGES)
    if not base:
        return f"what judged it was no commit, and this is {now[:10]}"
    if not re.fullmatch(r"[0-9a-f]{7,64}", base):  # it comes from a file that anyone may have written
        return f"what judged it is not the name of a commit ({base[:40]!r})"
    try:
        differ = _git(folder, "diff", "--name-only", base, "--", *paths).splitlines()
        between = _git(folder, "log", "--format=%h (%s)", f"--max-count={SHOWN}", f"{base}...HEAD", "--", *differ)
    except (OSError, subprocess.SubprocessError):
        return f"it was judged by commit {base[:10]}, which is not in this checkout (at {now[:10]})"
    if differ:
        by = [f"commit {line}" for line in between.splitlines()] if now != base else []
        names = ", ".join(differ[:SHOWN]) + (f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else "")
        changed = ", ".join(by) or "changes that are in no commit"
        return f"since commit {base[:10]}, which judged it, {names} changed, by {changed}; check again with that commit"
    if recorded != base:
        return f"it was judged by changes over commit {base[:10]} that are in no commit"
    return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
