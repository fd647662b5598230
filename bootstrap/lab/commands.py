"""Running programs: to the end with their output, or as a service that outlives this process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bootstrap.lab.cgroups import Cgroup
from bootstrap.lab.errors import LabError

COMMAND_TIMEOUT_S = 120.0
"""No single command of the lab takes longer; a longer one hangs."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(
    *argv: str | Path,
    stdin: str | None = None,
    timeout_s: float = COMMAND_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> str:
    """Run a program to its end and return its output. Raises LabError with what it said."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=None if env is None else dict(env),
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is not on this machine; `verify lab up` installs what is missing.") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(words)}` did not end within {timeout_s:.0f} s; see what it waits for.") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise LabError(f"`{' '.join(words)}` failed with exit code {done.returncode}: {said}")
    return done.stdout


def start(argv: Sequence[str | Path], group: Cgroup, log: Path, env: Mapping[str, str] | None = None) -> None:
    """Start a service that outlives this process: own session, own cgroup, output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # A shell joins the cgroups first, so that nothing the service starts is ever outside of them.
    joins = " && ".join(f"echo $$ > {path}/cgroup.procs" for path in group.paths)
    with log.open("ab") as out:
        subprocess.Popen(
            ["/bin/sh", "-c", f'{joins} && exec "$@"', "sh", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **(env or {})},
        )
