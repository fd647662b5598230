"""`verify lab`: the command line of the lab."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bootstrap.lab.errors import LabError, UnfitError
from bootstrap.lab.layout import BY_NAME, COMPLETE, FIRST, KNOWN_HOSTS, KUBECONFIG, SSH_KEY
from bootstrap.lab.progress import Progress

app = typer.Typer(
    no_args_is_help=True,
    help="A real Kubernetes on this machine: three control-plane nodes and three workers.",
)

FAILED = 1
UNFIT = 2
"""The machine lacks something; nothing was started."""
INTERRUPTED = 130


@contextmanager
def _told() -> Iterator[None]:
    """Errors as sentences, with an exit code."""
    console = Console(stderr=True, highlight=False)
    try:
        yield
    except UnfitError as error:
        console.print("[bold red]Not started.[/bold red] This machine is not ready for the lab:")
        for line in str(error).splitlines():
            console.print(f"  • {line}", markup=False, soft_wrap=True)
        raise typer.Exit(UNFIT) from error
    except LabError as error:
        console.print("[bold red]Failed.[/bold red]")
        console.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        said = "Interrupted. `verify lab up` cleans up and starts again, `verify lab down` takes away what there is."
        console.print(said, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from error


@app.command()
def up() -> None:
    """Bring the lab up: make it, repair what does not run of it, or leave it alone where all is well."""
    from bootstrap.lab import cluster

    with _told():
        cluster.up(Progress())


@app.command()
def down() -> None:
    """Take the lab off this machine: processes, mounts, links, control groups, disks. What was built stays cached."""
    from bootstrap.lab import cluster

    with _told():
        cluster.down(Progress())


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show nodes, components, ages, memory and processor use. Exit code 1 where something does not run."""
    from bootstrap.lab import status as lab_status

    with _told():
        seen = lab_status.look()
    if as_json:
        print(json.dumps(lab_status.as_document(seen), indent=2))
    else:
        _print(seen)
    raise typer.Exit(0 if seen.healthy else FAILED)


def _print(seen: object) -> None:
    from bootstrap.lab.status import Status

    assert isinstance(seen, Status)  # noqa: S101 -- the import above is lazy, so is its type
    console = Console(highlight=False)
    if seen.presence == "absent":
        console.print("There is no lab on this machine; `verify lab up` makes one.")
        return
    table = Table("node", "role", "address", "state", "containerd", "kubelet", "memory", box=None, pad_edge=False)
    for each in seen.nodes:
        ready = {True: "[green]Ready[/green]", False: "[red]NotReady[/red]", None: "?"}[each.ready]
        ages = [_age(each.services[name]) if name in each.services else "-" for name in ("containerd", "kubelet")]
        down = "".join(f", [red]{name} down[/red]" for name in each.missing)
        state = f"{ready}{down}" if each.running else "[red]off[/red]"
        table.add_row(each.name, each.role, each.address, state, *ages, f"{each.memory / 2**20:.0f} MiB")
    console.print(table)
    console.print()
    for part in seen.components:
        colour = "green" if part.ready == part.wanted else "red"
        console.print(f"[{colour}]{part.ready}/{part.wanted}[/{colour}] {part.name}")
    console.print()
    for problem in seen.problems:
        console.print(f"[red]{problem}[/red]")
    console.print(f"memory {seen.memory / 2**30:.2f} GiB, processor {seen.cpu_percent:.0f} % of one core")
    console.print(f"endpoint {seen.endpoint}", f"export KUBECONFIG={seen.kubeconfig}", sep="\n", soft_wrap=True)
    if not seen.healthy:
        console.print("[red]Something does not run;[/red] `verify lab up` repairs it.")


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


@app.command()
def kubeconfig() -> None:
    """Print the path of the kubeconfig, for `export KUBECONFIG=$(verify lab kubeconfig)`."""
    with _told():
        if not COMPLETE.exists():
            raise LabError("There is no lab on this machine; `verify lab up` makes one.")
    print(KUBECONFIG)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def ssh(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="cp1, cp2, cp3, w1, w2 or w3.")] = FIRST.name,
) -> None:
    """Open a shell on a node, or run the command that follows."""
    with _told():
        if node not in BY_NAME:
            raise LabError(f"There is no node {node}; the lab has {', '.join(BY_NAME)}.")
        if not COMPLETE.exists():
            raise LabError("There is no lab on this machine; `verify lab up` makes one.")
    sys.stdout.flush()
    os.execvp(  # noqa: S606 -- the terminal belongs to ssh from here on
        "ssh",
        [
            *("ssh", "-i", str(SSH_KEY), "-o", f"UserKnownHostsFile={KNOWN_HOSTS}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "LogLevel=ERROR", f"root@{BY_NAME[node].address}", *context.args),
        ],
    )
