"""The lab's programs, built from pinned sources into a cache that outlives the lab and the checkout.

- ``<cache>/bin/<component>-<key>/<binary>`` stays; the key is a hash of everything the binary is made from.
- ``<cache>/build/`` has Go's own caches while a build runs; it is gone when the build ends, however it ends.
- ``<cache>/lock`` is held while a build runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import HERE, cache

PINS = HERE / "components.toml"
MODULES = HERE / "modules"

AT_ONCE = 2
"""Modules built side by side: what one has to fetch, or to link alone, the other compiles meanwhile."""
GOGC = "300"
"""The compiler collects its garbage a third as often: a sixth of its time is gained for memory it soon gives back."""
DISK_GB = 20
"""Free disk a build asks for; all components from nothing were seen to take 13 at the peak."""
DISK_EMPTY_GB = 11
"""Go's caches are emptied between two modules when they have grown beyond this; unpacked, they never shrink."""
KEPT = 2
"""Builds of one component that stay: the one in use and the one before, for a look back costs nothing then."""
COMMAND_TIMEOUT_S = 1800
"""The API server takes four minutes on two cores; a build of more than half an hour hangs."""
GB = 10**9

Report = Callable[[str], None]


class PinsError(LabError):
    """components.toml or a module's go.mod says something that cannot be built."""


@dataclass(frozen=True)
class Module:
    """A Go module at one version. `files` are its go.mod and go.sum, by which all it imports is pinned."""

    name: str
    path: str
    version: str
    folder: Path
    stamp: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def linker_flags(self) -> str:
        return " ".join(("-s", "-w", *(f"-X {variable}={self.version}" for variable in self.stamp), *self.ldflags))


@dataclass(frozen=True)
class Component:
    """One program: `package` of `module`, or the C file `source`, or a file of a module or a wheel, taken as it is.

    `omit`: packages of the module that its file `omit_from` imports only for the effect, and that are left out.
    """

    name: str
    binary: str
    why: str
    key: str
    on_demand: bool = False
    module: Module | None = None
    package: str = ""
    file: str = ""
    omit_from: str = ""
    omit: tuple[str, ...] = ()
    source: Path | None = None
    wheel: str = ""
    """Name and version of a Python wheel, of which `file` is taken; `sha256` is the wheel's."""
    sha256: str = ""

    @property
    def version(self) -> str:
        """Of its module or wheel; our own programs have the key of their content."""
        return self.module.version if self.module else self.wheel.partition("==")[2] or self.key

    def path(self) -> Path:
        """Where the built program is, or will be."""
        return cache() / "bin" / f"{self.name}-{self.key}" / self.binary


@dataclass(frozen=True)
class Pins:
    """components.toml, checked."""

    toolchain: str
    components: Mapping[str, Component]

    def chosen(self, names: Iterable[str] | None) -> tuple[Component, ...]:
        """The named components, in the order of the file; all but those on demand when no names are given."""
        if names is None:
            return tuple(component for component in self.components.values() if not component.on_demand)
        wanted = set(names)
        unknown = sorted(wanted - self.components.keys())
        if unknown:
            known = ", ".join(self.components)
            raise PinsError(f"{PINS.name} has no component {', '.join(unknown)}; it has {known}.")
        return tuple(component for component in self.components.values() if component.name in wanted)


@dataclass(frozen=True)
class Artifacts:
    """What has been built, or will be."""

    components: Mapping[str, Component]

    def component(self, name: str) -> Component:
        """The component `name`. Raises LabError when build() was not asked for it."""
        if name not in self.components:
            raise LabError(f"The component {name} was not asked for; name it in build().")
        return self.components[name]

    def binary(self, name: str) -> Path:
        """The program of the component `name`."""
        return self.component(name).path()


# --- pins ---------------------------------------------------------------------------------------------------------

TEXT, TEXTS, FLAG = "a text", "a list of texts", "true or false"
_IS: Mapping[str, Callable[[object], bool]] = {
    TEXT: lambda value: isinstance(value, str),
    TEXTS: lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    FLAG: lambda value: isinstance(value, bool),
}
MODULE_KEYS = {"path": TEXT, "version": TEXT, "stamp": TEXTS, "ldflags": TEXTS, "tags": TEXTS}
COMPONENT_KEYS = {
    "module": TEXT,
    "package": TEXT,
    "file": TEXT,
    "omit_from": TEXT,
    "omit": TEXTS,
    "source": TEXT,
    "wheel": TEXT,
    "sha256": TEXT,
    "binary": TEXT,
    "why": TEXT,
    "on_demand": FLAG,
}


def pins(path: Path = PINS, modules: Path = MODULES) -> Pins:
    """Read and check the pins. Raises PinsError with a sentence that names file, table and key."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PinsError(f"{path} cannot be read: {error}. Mend the file.") from error
    for key in document:
        if key not in {"toolchain", "modules", "components"}:
            raise PinsError(f"{path}: the key {key} is not known; remove it.")
    toolchain = document.get("toolchain")
    if not isinstance(toolchain, str) or not toolchain.startswith("go1."):
        raise PinsError(f"{path}: `toolchain` must name a Go release such as go1.26.8.")
    found = {
        name: _module(path, modules, name, _table(path, f"modules.{name}", table, MODULE_KEYS, ("path", "version")))
        for name, table in _tables(path, document, "modules")
    }
    components = {
        name: _component(
            path, toolchain, found, name, _table(path, f"components.{name}", table, COMPONENT_KEYS, ("why",))
        )
        for name, table in _tables(path, document, "components")
    }
    return Pins(toolchain, components)


def _tables(path: Path, document: Mapping[str, Any], key: str) -> Iterator[tuple[str, object]]:
    tables = document.get(key, {})
    if not isinstance(tables, dict) or not tables:
        raise PinsError(f"{path}: there must be a table [{key}.NAME] for each of the {key}.")
    yield from tables.items()


def _table(path: Path, name: str, table: object, known: Mapping[str, str], needed: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise PinsError(f"{path}: [{name}] must be a table.")
    for key, value in table.items():
        if key not in known:
            raise PinsError(f"{path}: [{name}] has the unknown key {key}; known are {', '.join(known)}.")
        if not _IS[known[key]](value):
            raise PinsError(f"{path}: [{name}] {key} must be {known[key]}, it is {value!r}.")
    for key in needed:
        if key not in table:
            raise PinsError(f"{path}: [{name}] lacks the key {key}; add it.")
    return table


def _module(path: Path, modules: Path, name: str, table: Mapping[str, Any]) -> Module:
    folder = modules / name
    for file in ("go.mod", "go.sum"):
        if not (folder / file).is_file():
            raise PinsError(f"{path}: [modules.{name}] needs {folder / file}; `go get -tool` in that folder makes it.")
    wanted = [table["path"], table["version"]]
    words = [line.removeprefix("require").split()[:2] for line in (folder / "go.mod").read_text().splitlines()]
    if wanted not in words:
        raise PinsError(
            f"{path}: [modules.{name}] pins {' '.join(wanted)}, {folder / 'go.mod'} does not; "
            f"run `go get -tool` for its packages at {wanted[1]} there, or set the version back."
        )
    return Module(
        name=name,
        path=table["path"],
        version=table["version"],
        folder=folder,
        stamp=tuple(table.get("stamp", ())),
        ldflags=tuple(table.get("ldflags", ())),
        tags=tuple(table.get("tags", ())),
    )


C_FLAGS = ("-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror")


def _component(
    path: Path, toolchain: str, modules: Mapping[str, Module], name: str, table: Mapping[str, Any]
) -> Component:
    binary, why, on_demand = table.get("binary", name), table["why"], table.get("on_demand", False)
    if "source" in table:
        source = path.parent / table["source"]
        if not source.is_file():
            raise PinsError(f"{path}: [components.{name}] names the source {source}, which does not exist.")
        key = content_key({"flags": C_FLAGS, "source": source.read_text()})
        return Component(name, binary, why, key, on_demand, source=source)
    file = table.get("file", "")
    if "wheel" in table:
        if not file or len(table.get("sha256", "")) != 64 or "==" not in table["wheel"]:
            raise PinsError(
                f"{path}: [components.{name}] must have `wheel` as NAME==VERSION, its `sha256`, and `file`."
            )
        key = content_key({"wheel": table["wheel"], "sha256": table["sha256"], "file": file, "binary": binary})
        return Component(name, binary, why, key, on_demand, file=file, wheel=table["wheel"], sha256=table["sha256"])
    for needed in ("module",) if file else ("module", "package"):
        if needed not in table:
            raise PinsError(
                f"{path}: [components.{name}] lacks {needed}; "
                "give `module` and `package` or `file`, or `wheel` and `file`, or `source`."
            )
    module = modules.get(table["module"])
    if module is None:
        raise PinsError(f"{path}: [components.{name}] is of a module without table; add [modules.{table['module']}].")
    if file:
        if "package" in table:
            raise PinsError(f"{path}: [components.{name}] must have `package` or `file`, not both.")
        key = content_key({"file": file, "binary": binary, "go.sum": (module.folder / "go.sum").read_text()})
        return Component(name, binary, why, key, on_demand, module=module, file=file)
    omit_from, omit = table.get("omit_from", ""), tuple(table.get("omit", ()))
    if bool(omit_from) != bool(omit):
        raise PinsError(f"{path}: [components.{name}] must have both `omit_from` and `omit`, or neither.")
    key = content_key(
        {
            "toolchain": toolchain,
            "package": table["package"],
            **({"omit_from": omit_from, "omit": omit} if omit else {}),
            "binary": binary,
            "linker": module.linker_flags,
            "tags": module.tags,
            "go.mod": (module.folder / "go.mod").read_text(),
            "go.sum": (module.folder / "go.sum").read_text(),
        }
    )
    return Component(
        name, binary, why, key, on_demand, module=module, package=table["package"], omit_from=omit_from, omit=omit
    )


def content_key(content: Mapping[str, object]) -> str:
    """The name of what is made from `content`: twelve hex digits, readable in a path and enough for some dozens."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


# --- building -----------------------------------------------------------------------------------------------------


def is_built(names: Iterable[str] | None = None) -> bool:
    """Whether build() would find everything in the cache."""
    return all(component.path().is_file() for component in pins().chosen(names))


def planned(names: Iterable[str] | None) -> Artifacts:
    """What build() returns, whether it is built or not."""
    return Artifacts({component.name: component for component in pins().chosen(names)})


def build(names: Iterable[str] | None, report: Report) -> Artifacts:
    """Build what is not in the cache yet. Components of one module share its downloads and compiled packages.

    Raises PinsError for bad pins, LabError when disk is short or a build fails. Ctrl-C leaves what was finished.
    """
    artifacts = planned(names)
    chosen = artifacts.components.values()
    if _workplace().exists() or not all(component.path().is_file() for component in chosen):
        with exclusive(report) as lock:
            if _workplace().exists():  # left by a build that was killed: its lock is free
                shutil.rmtree(_workplace())
            missing = [component for component in chosen if not component.path().is_file()]
            if missing:
                _build(missing, report, lock)
    for component in chosen:
        os.utime(component.path().parent)  # used last: stays when older ones go
    return artifacts


def _workplace() -> Path:
    return cache() / "build"


@contextmanager
def exclusive(report: Report, name: str = "lock") -> Iterator[int]:
    """One builder at a time, of this or any other checkout; yields the open lock. Waits for the other one."""
    cache().mkdir(parents=True, exist_ok=True)
    file = cache() / name
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"another build holds {file}; waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _build(missing: list[Component], report: Report, lock: int) -> None:
    free = shutil.disk_usage(cache()).free / GB
    if free < DISK_GB and any(component.module for component in missing):
        raise LabError(
            f"{free:.0f} GB are free at {cache()}, building needs {DISK_GB}; "
            "make room, or point XDG_CACHE_HOME at another disk."
        )
    workplace = _workplace()
    (workplace / "tmp").mkdir(parents=True)
    tools = Tools(lock)
    try:
        go = Go(pins().toolchain, workplace, tools) if any(component.module for component in missing) else None
        numbers = {component.name: number for number, component in enumerate(missing, 1)}

        def build(components: list[Component]) -> None:
            for component in components:
                began = time.monotonic()
                version = component.version if component.module else ""
                place = f"{numbers[component.name]}/{len(missing)} {component.name} {version}".strip()
                report(f"{place} ({component.why})")
                _make(component, workplace, go, tools)
                _keep(component, workplace / component.name)
                report(f"{place}: {time.monotonic() - began:.0f} s")

        modules: dict[str, list[Component]] = {}
        for component in missing:
            modules.setdefault(component.module.name if component.module else component.name, []).append(component)
        with ThreadPoolExecutor(AT_ONCE) as lanes:
            try:
                done = [
                    lanes.submit(go.beside, build, each) if go else lanes.submit(build, each)
                    for each in modules.values()
                ]
                for future in as_completed(done):
                    future.result()
            except BaseException:
                lanes.shutdown(wait=False, cancel_futures=True)
                tools.stop()
                raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _make(component: Component, workplace: Path, go: Go | None, tools: Tools) -> None:
    if component.wheel:
        _take_from_wheel(component, workplace, tools)
    elif component.module is None:
        tools.run(["cc", *C_FLAGS, "-o", str(workplace / component.name), str(component.source)], component.name)
    else:
        assert go is not None  # noqa: S101 -- the caller made it for modules
        go.build(component, workplace / component.name)


def _keep(component: Component, built: Path) -> None:
    """Move a built program to its place, all or nothing, and let go of long unused builds of the same component."""
    target = component.path()
    built.chmod(0o755)
    ready = built.parent / f"{component.name}.ready"
    ready.mkdir()
    built.rename(ready / component.binary)
    shutil.rmtree(target.parent, ignore_errors=True)  # a folder without the binary is no build
    target.parent.parent.mkdir(exist_ok=True)
    ready.rename(target.parent)
    forget_older(target.parent.parent, component.name)


def forget_older(folder: Path, name: str) -> None:
    """Of all ``<name>-<key>`` in a folder of the cache, let go of those not used for longest."""
    builds = [path for path in folder.iterdir() if path.name.rpartition("-")[0] == name]
    for path in sorted(builds, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _take_from_wheel(component: Component, workplace: Path, tools: Tools) -> None:
    folder = workplace / f"{component.name}.wheel"
    folder.mkdir()
    (folder / "pinned.txt").write_text(f"{component.wheel} --hash=sha256:{component.sha256}\n")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "-r", str(folder / "pinned.txt")]
    tools.run(command, component.name)
    (wheel,) = folder.glob("*.whl")
    target = workplace / component.name
    with zipfile.ZipFile(wheel) as content, content.open(component.file) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    shutil.rmtree(folder)


class Go:
    """The pinned Go toolchain with caches of its own."""

    def __init__(self, toolchain: str, workplace: Path, tools: Tools) -> None:
        self.caches = (workplace / "gocache", workplace / "gomodcache")
        self.workplace, self.tools = workplace, tools
        self.free_at_first = shutil.disk_usage(workplace).free
        self.building = 0
        self.ended = threading.Condition()
        self.environment = {
            **os.environ,
            "GOCACHE": str(self.caches[0]),
            "GOMODCACHE": str(self.caches[1]),
            "GOTMPDIR": str(workplace / "tmp"),
            "GOWORK": "off",
            "CGO_ENABLED": "0",  # static programs, for images without a system
            "GOGC": GOGC,
            # Without -modcacherw the modules could not be removed again.
            "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        }
        # A toolchain that is not the machine's own is fetched as a module; it must survive empty().
        fetch = self.environment | {"GOTOOLCHAIN": toolchain, "GOMODCACHE": str(workplace / "toolchain")}
        root = tools.run(["go", "env", "GOROOT"], f"the toolchain {toolchain}", env=fetch, cwd=workplace)
        self.command = str(Path(root.strip()) / "bin/go")
        self.environment["GOTOOLCHAIN"] = "local"

    def beside(self, build: Callable[[list[Component]], None], components: list[Component]) -> None:
        """Build one module's components while another's are built, unless the caches have to be emptied first."""
        with self.ended:
            self.ended.wait_for(lambda: self.building == 0 or self.disk_gb() <= DISK_EMPTY_GB)
            if self.disk_gb() > DISK_EMPTY_GB:
                self.empty()
            self.building += 1
        try:
            build(components)
        finally:
            with self.ended:
                self.building -= 1
                self.ended.notify_all()

    def build(self, component: Component, output: Path) -> None:
        module = component.module
        assert module is not None  # noqa: S101 -- the caller tells C and Go apart
        if component.file:
            shutil.copyfile(self._source(component, module) / component.file, output)
            return
        folder = self._without_omitted(component, module) if component.omit else module.folder
        # Debug information is stripped at the end; not to make it saves a tenth of the time and a fifth of the disk.
        flags = ["-gcflags=all=-dwarf=false", "-tags", ",".join(module.tags), "-ldflags", module.linker_flags]
        self._go(component, folder, "build", *flags, "-o", str(output), component.package)

    def _without_omitted(self, component: Component, module: Module) -> Path:
        """The folder of a main module like `module.folder`, for which `omit_from` imports nothing that is omitted."""
        source, folder = (self.workplace / f"{component.name}.{what}" for what in ("source", "module"))
        shutil.copytree(self._source(component, module), source)
        shutil.copytree(module.folder, folder)
        text = (source / component.omit_from).read_text()
        for package in component.omit:
            line = f'\t_ "{module.path}/{package}"\n'
            if line not in text:
                raise PinsError(f"{component.omit_from} of {module.path} does not import {package}; omit it no longer.")
            text = text.replace(line, "")
        (source / component.omit_from).write_text(text)
        self._go(component, folder, "mod", "edit", f"-replace={module.path}@{module.version}={source}")
        return folder

    def _source(self, component: Component, module: Module) -> Path:
        """The module's own files, checked against its go.sum."""
        found = self._go(component, module.folder, "mod", "download", "-json", f"{module.path}@{module.version}")
        return Path(json.loads(found)["Dir"])

    def _go(self, component: Component, folder: Path, *arguments: str) -> str:
        return self.tools.run([self.command, *arguments], component.name, cwd=folder, env=self.environment)

    def disk_gb(self) -> float:
        """What the disk lost since the start, in GB: the caches, and whatever else filled it."""
        return (self.free_at_first - shutil.disk_usage(self.workplace).free) / GB

    def empty(self) -> None:
        for folder in self.caches:
            shutil.rmtree(folder, ignore_errors=True)


class Tools:
    """The builders that run, several at once. `lock`: stays taken until they have ended, should we be killed."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._change = threading.Lock()

    def run(
        self, command: list[str], what: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """Run a builder to its end and return its output. Raises LabError."""
        process = self._start(command, what, cwd, env)
        try:
            out, said = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise LabError(
                    f"Building {what} took over {COMMAND_TIMEOUT_S} s; try again on an idle machine."
                ) from error
            raise
        finally:
            with self._change:
                self._running.discard(process)
        if process.returncode != 0:
            lines = [line for line in said.splitlines() if not line.startswith("go: downloading ")]
            raise LabError(
                f"Building {what} failed with exit code {process.returncode}; what was finished stays built. "
                "It said:\n" + "\n".join(lines[-15:])
            )
        return out

    def stop(self) -> None:
        """End all that runs, and start nothing any more."""
        with self._change:
            self._stopped = True
            for process in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _start(
        self, command: list[str], what: str, cwd: Path | None, env: Mapping[str, str] | None
    ) -> subprocess.Popen[str]:
        with self._change:
            if self._stopped:
                raise LabError(f"Building {what} was given up.")
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                    pass_fds=(self._lock,),
                )
            except FileNotFoundError as error:
                raise LabError(f"{command[0]} is not on this machine, {what} cannot be built; install it.") from error
            self._running.add(process)
            return process
