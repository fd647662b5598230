"""The lab's container images: programs that were built here, and Debian's packages where a program needs a system.

- ``<cache>/images/<name>-<key>.tar`` is an image; the key is a hash of all that it is made from.
- ``<cache>/layers/base-<key>.tar`` is a layer of Debian packages, shared by several images; other layers are in the
  images alone.

Debian's packages are unpacked and not configured (mmdebstrap's variant `extract`): no package manager, no service and
no set-up script gets into an image. What the scripts would have set up and is needed, SYSTEM says. Their checksums are
apt's, under Debian's signature.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bootstrap.lab.build import Artifacts, Report, content_key, exclusive, forget_older
from bootstrap.lab.errors import LabError
from bootstrap.lab.layout import IMAGE_REPOSITORY, cache
from bootstrap.lab.oci import Entry, Layer, layer, write_archive, write_layer

RELEASE = "bookworm"
RECIPE = 2
"""Part of every key: raise it when this module changes what comes out."""
WORKPLACE = "build-images"
DEBIAN_TIMEOUT_S = 600
"""Fetching and unpacking takes half a minute; a mirror that stalls is told apart from a slow one."""

MERGED = ("bin", "lib", "lib64", "sbin")
"""Links into /usr at the top, which mmdebstrap makes for its own release and newer ones bring with their set-up."""

Nodes = Literal["all", "control-plane", "workers"]


@dataclass(frozen=True)
class Image:
    """A finished image: an OCI archive to import into the containerd of `nodes`."""

    name: str
    tag: str
    archive: Path
    nodes: Nodes

    @property
    def ref(self) -> str:
        return f"{IMAGE_REPOSITORY}/{self.name}:{self.tag}"


@dataclass(frozen=True)
class Recipe:
    """What an image is made of. `programs`: components, put into /usr/local/bin. The tag is the first one's version.

    `packages`: Debian's, on top of BASE; None for an image without a system. `folders` belong to `user`.
    """

    name: str
    nodes: Nodes
    programs: tuple[str, ...] = ()
    packages: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] = ()
    user: int = 0
    folders: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Paths and what they point to."""
    release: str = RELEASE
    """Debian's; of another than RELEASE everything is taken from there, BASE too."""
    path: str = ""
    """Searched for programs before the usual folders."""
    tag: str = ""


BASE = ("dash", "coreutils", "sed", "grep", "mawk", "iproute2", "iptables", "ipset", "conntrack")
"""A shell, and what programs that set up networking call. One layer, which every node has once."""

NONROOT = 65532
NOBODY = 65534
POSTGRES = 26
"""What CloudNativePG runs instances as unless told otherwise; PostgreSQL wants a name for it."""

# Static pods run as root as kubeadm has them: their keys are readable by root alone.
RECIPES = (
    Recipe("pause", "all", ("pause",), entrypoint=("/usr/local/bin/pause",), user=NONROOT, tag="1"),
    Recipe("etcd", "control-plane", ("etcd", "etcdctl", "etcdutl"), entrypoint=("/usr/local/bin/etcd",)),
    *(
        Recipe(name, "control-plane", (name,), entrypoint=(f"/usr/local/bin/{name}",))
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
    *(
        Recipe(name, "all", (name,), packages=(), entrypoint=(f"/usr/local/bin/{name}",))
        for name in ("kube-proxy", "flannel", "kube-router")
    ),
    # Also on the control plane, where DNS moves when workers are lost.
    Recipe("coredns", "all", ("coredns",), entrypoint=("/usr/local/bin/coredns",), user=NONROOT),
    *(
        Recipe(name, "workers", (name,), entrypoint=(f"/usr/local/bin/{name}",), user=NOBODY)
        for name in ("metrics-server", "kube-state-metrics")
    ),
    Recipe(
        *("prometheus", "workers"),
        packages=("prometheus",),
        entrypoint=("/usr/bin/prometheus",),
        user=NOBODY,
        folders=("prometheus",),
        tag="2.42",
    ),
    Recipe(
        *("alertmanager", "workers"),
        packages=("prometheus-alertmanager",),
        entrypoint=("/usr/bin/alertmanager",),
        user=NOBODY,
        folders=("alertmanager",),
        tag="0.25",
    ),
    Recipe(
        *("redis", "workers"),
        packages=("redis-server", "redis-tools"),
        entrypoint=("/usr/bin/redis-server",),
        user=NONROOT,
        folders=("data",),
        tag="7.0",
    ),
    Recipe(
        *("redis-exporter", "workers"),
        programs=("redis-exporter",),
        entrypoint=("/usr/local/bin/redis-exporter",),
        user=NONROOT,
    ),
    Recipe(
        *("local-path-provisioner", "workers", ("local-path-provisioner",)),
        entrypoint=("/usr/local/bin/local-path-provisioner",),
        user=NOBODY,
    ),
    # A shell, for what makes and removes the folders of volumes.
    Recipe("shell", "all", packages=(), entrypoint=("/bin/sh",), tag="1"),
    Recipe("seaweedfs", "all", ("weed",), entrypoint=("/usr/local/bin/weed",), user=NONROOT, folders=("tmp",)),
    # The operator copies itself into each instance's pod from /operator.
    Recipe(
        *("cloudnative-pg", "workers", ("cloudnative-pg",)),
        entrypoint=("/manager",),
        user=NONROOT,
        folders=("operator",),
        links=(("manager", "usr/local/bin/manager"), ("operator/manager_amd64", "../usr/local/bin/manager")),
    ),
    Recipe(
        *("postgresql", "workers"),
        packages=("postgresql-15", "barman-cli-cloud"),
        user=POSTGRES,
        path="/usr/lib/postgresql/15/bin",
        tag="15",
    ),
    Recipe(
        *("pgbouncer", "workers"),
        packages=("pgbouncer",),
        entrypoint=("/usr/bin/pgbouncer",),
        user=NOBODY,
        links=(("usr/bin/pgbouncer", "../sbin/pgbouncer"),),
        release="trixie",  # CloudNativePG's settings want 1.19 or newer
        tag="1.24",
    ),
    # Verification starts its own pods from it: SQL, S3 and Redis as a client in the cluster sees them.
    Recipe(
        *("client", "all"),
        packages=("python3", "python3-psycopg", "python3-redis", "python3-boto3"),
        entrypoint=("/usr/bin/python3",),
        user=NONROOT,
        tag="1",
    ),
    # The same: packets, names, requests.
    Recipe(
        *("probe", "all"),
        programs=("pause",),
        packages=("fping", "bind9-dnsutils", "curl"),
        entrypoint=("/usr/local/bin/pause",),
        user=NONROOT,
        tag="1",
    ),
)

COMPILE = (
    '[ ! -x "$1/usr/bin/python3" ] || '
    'chroot "$1" sh -c "python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3* || true"'
)
"""Python's modules are compiled in the image, as Debian's set-up would: a container may write nowhere to keep them, and
archiving a segment of WAL took three times as long. Not everything below /usr/lib is meant to compile."""

UNUSED = (
    *("usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*"),
    *("usr/share/bash-completion/*", "usr/share/bug/*", "usr/share/gcc/*", "usr/share/gdb/*", "usr/share/doc-base/*"),
    *("usr/share/perl*", "usr/lib/*/perl*", "usr/lib/*/libperl*", "usr/bin/perl*", "usr/lib/*/gconv/*"),
    *("var/cache/*", "var/lib/*", "var/log/*", "etc/apt/*", "usr/lib/apt/*", "usr/share/dpkg/*", "etc/cron.*"),
    *("etc/init.d/*", "lib/systemd/*", "usr/lib/systemd/*", "usr/share/debconf/*", "usr/share/pam*", "dev/*"),
    *("etc/hostname", "etc/resolv.conf", "etc/fstab", "usr/bin/promtool", "usr/bin/amtool"),
    "usr/share/javascript/moment-timezone/data/unpacked/*",  # 90 MB of source of what is beside it
)
"""Patterns of paths that no image needs; `*` also matches slashes."""

ACCOUNTS = (("root", 0), ("nonroot", NONROOT), ("nobody", NOBODY), ("postgres", POSTGRES))
SYSTEM = (
    *(
        Entry(path)
        for path in ("etc", "proc", "sys", "dev", "run", "var", "usr", "usr/bin", "usr/local", "usr/local/bin")
    ),
    *(Entry(path, mode=0o1777) for path in ("tmp", "var/tmp")),
    Entry("etc/passwd", "".join(f"{name}:x:{n}:{n}::/:/bin/sh\n" for name, n in ACCOUNTS).encode(), mode=0o644),
    Entry("etc/group", "".join(f"{name}:x:{n}:\n" for name, n in ACCOUNTS).encode(), mode=0o644),
    Entry("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n", mode=0o644),
)
"""Every image has these."""
ALTERNATIVES = {
    # The same back end as Debian on the nodes, else the two would write rules past each other.
    **{
        f"usr/sbin/{family}{kind}": f"{family}-nft{kind}"
        for family in ("iptables", "ip6tables")
        for kind in ("", "-save", "-restore")
    },
    "usr/bin/awk": "mawk",
    "usr/bin/alertmanager": "prometheus-alertmanager",  # the name it has everywhere else
}
"""Links that Debian's set-up scripts would make, where what they point to is in the layer."""


def build_images(artifacts: Artifacts, names: Iterable[str] | None, report: Report) -> dict[str, Image]:
    """Make the named images (None: all) that are not in the cache yet. Returns them by name, in the order of RECIPES.

    Raises LabError when a component was not built or Debian's packages cannot be had.
    """
    wanted = None if names is None else set(names)
    recipes = [recipe for recipe in RECIPES if wanted is None or recipe.name in wanted]
    unknown = sorted((wanted or set()) - {recipe.name for recipe in recipes})
    if unknown:
        raise LabError(f"There is no image {', '.join(unknown)}; there are {', '.join(each.name for each in RECIPES)}.")
    images = {recipe.name: _image(recipe, artifacts) for recipe in recipes}
    if (cache() / WORKPLACE).exists() or not all(image.archive.is_file() for image in images.values()):
        with _workplace(report) as workplace:
            _build(recipes, images, artifacts, workplace, report)
    for image in images.values():
        os.utime(image.archive)  # used last: stays when older ones go
    return images


@contextmanager
def debian_beside(artifacts: Artifacts, report: Report) -> Iterator[None]:
    """Fetch and unpack Debian's packages for the images that are missing, while something else is done.

    Raises LabError at the end when they cannot be had.
    """
    missing = [
        recipe for recipe in RECIPES if recipe.packages is not None and not _image(recipe, artifacts).archive.is_file()
    ]

    def fetch() -> None:
        with _workplace(report) as workplace:
            _debian_layers(missing, workplace, report)

    with ThreadPoolExecutor(1) as beside:
        done = beside.submit(fetch) if missing else None
        yield
        if done is not None:
            done.result()


@contextmanager
def _workplace(report: Report) -> Iterator[Path]:
    """A folder for what is half done; one maker of images at a time. Go's programs are built under another lock."""
    folder = cache() / WORKPLACE
    with exclusive(report, "images.lock"):
        shutil.rmtree(folder, ignore_errors=True)  # left by a build that was killed
        for each in (folder, cache() / "images", cache() / "layers"):
            each.mkdir(exist_ok=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _image(recipe: Recipe, artifacts: Artifacts) -> Image:
    components = [artifacts.component(name) for name in recipe.programs]
    # kubeadm's tag of etcd is its version without the v.
    tag = recipe.tag or (components[0].version.removeprefix("v") if recipe.name == "etcd" else components[0].version)
    key = content_key(
        {
            "recipe": RECIPE,
            "image": repr(recipe),
            "tag": tag,
            "programs": [component.key for component in components],
            "layers": []
            if recipe.packages is None
            else [_debian_key(BASE), _debian_key(recipe.packages, recipe.release)],
            "system": repr(SYSTEM) + (repr(MERGED) if recipe.release != RELEASE else ""),
        }
    )
    return Image(recipe.name, tag, cache() / "images" / f"{recipe.name}-{key}.tar", recipe.nodes)


def _build(
    recipes: Iterable[Recipe], images: Mapping[str, Image], artifacts: Artifacts, workplace: Path, report: Report
) -> None:
    missing = [recipe for recipe in recipes if not images[recipe.name].archive.is_file()]
    on_debian = [recipe for recipe in missing if recipe.packages is not None]
    debian = _debian_layers(on_debian, workplace, report) if on_debian else {}
    for recipe in missing:
        image = images[recipe.name]
        began = time.monotonic()
        layers = [] if recipe.packages is None else [*debian[recipe.release, recipe.packages]]
        own = [
            *SYSTEM,
            *(Entry(path, owner=recipe.user) for path in recipe.folders),
            *(Entry(path, link=to) for path, to in recipe.links),
            *(Entry(name, link=f"usr/{name}") for name in MERGED if recipe.release != RELEASE),
            *(_program(artifacts, name) for name in recipe.programs),
        ]
        layers.append(write_layer(workplace / "own.tar", own))
        ready = workplace / "image.tar"
        write_archive(
            ready, image.ref, layers, entrypoint=recipe.entrypoint, user=str(recipe.user or ""), path=recipe.path
        )
        size = ready.stat().st_size / 1e6
        ready.rename(image.archive)
        forget_older(image.archive.parent, recipe.name)
        report(f"image {image.ref}: {size:.0f} MB, {time.monotonic() - began:.1f} s")
    _forget_layers()


def _forget_layers() -> None:
    """What is in an image now, and below no other one."""
    for file in (cache() / "layers").iterdir():
        if file.name.rpartition("-")[0] != "base":
            file.unlink()


def _program(artifacts: Artifacts, name: str) -> Entry:
    binary = artifacts.binary(name)
    return Entry(f"usr/local/bin/{binary.name}", binary)


# --- Debian -------------------------------------------------------------------------------------------------------


def _debian_key(packages: tuple[str, ...], release: str = RELEASE) -> str:
    recipe = {"recipe": RECIPE, "release": release, "base": BASE, "packages": packages}
    return content_key(recipe | {"compile": COMPILE, "unused": UNUSED, "alternatives": ALTERNATIVES})


def _debian_layers(
    recipes: Iterable[Recipe], workplace: Path, report: Report
) -> Mapping[tuple[str, tuple[str, ...]], tuple[Layer, ...]]:
    """By a recipe's release and packages: BASE and on it what these add, or all in one where the release is another."""
    base = (RELEASE, BASE)
    wanted = {base: "base"} | {(each.release, each.packages): each.name for each in recipes if each.packages}
    files = {
        (release, packages): cache() / "layers" / f"{name}-{_debian_key(packages, release)}.tar"
        for (release, packages), name in wanted.items()
    }
    missing = {what: workplace / file.name for what, file in files.items() if not file.is_file()}
    if missing:
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:  # they mostly wait for the network
            for _ in pool.map(_mmdebstrap, missing.values(), missing):
                pass
        for (release, packages), raw in missing.items():  # BASE comes first, the others are what differs from it
            below = set(_read(files[base])) if release == RELEASE and packages != BASE else set()
            ready = workplace / "layer.tar"
            write_layer(ready, _without(_read(raw), below))
            raw.unlink()
            file = files[release, packages]
            ready.rename(file)
            forget_older(file.parent, file.name.rpartition("-")[0])
        names = ", ".join(package for _, packages in missing for package in packages)
        report(f"Debian packages {names}: {time.monotonic() - began:.0f} s")
    below_all = layer(files[base])
    layers = {
        what: (below_all, layer(file)) if what[0] == RELEASE else (layer(file),)
        for what, file in files.items()
        if what != base
    }
    return {(RELEASE, ()): (below_all,), **layers}


def _without(entries: Iterable[Entry], below: set[Entry]) -> Iterator[Entry]:
    """What is not below already, and the links that its set-up would have made."""
    paths = set()
    for entry in entries:
        if entry not in below:
            paths.add(entry.path)
            yield entry
    for path, to in ALTERNATIVES.items():
        if path not in paths and str(Path(path).with_name(to)) in paths:
            yield Entry(path, link=to)


def _mmdebstrap(target: Path, what: tuple[str, tuple[str, ...]]) -> None:
    """Unpack BASE and these packages of a release, with all they depend on, into a tar file."""
    release, packages = what
    packages = tuple(dict.fromkeys((*BASE, *packages)))
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(packages)}"]
    command += [f"--extract-hook={COMPILE}", release, str(target)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEBIAN_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError("mmdebstrap is not on this machine; `apt-get install mmdebstrap`.") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"Debian's packages did not come within {DEBIAN_TIMEOUT_S} s; see whether `apt-get update` gets through."
        ) from error
    if done.returncode != 0:
        raise LabError(
            "Debian's packages for an image could not be had; see whether `apt-get update` gets through. "
            f"`{' '.join(command)}` said:\n{done.stderr.strip()[-1500:]}"
        )


def _read(archive: Path) -> Iterator[Entry]:
    """What is used of a root folder in a tar file. Comparable: two equal files in two archives are equal entries."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.removeprefix("./").rstrip("/")
            if path in {"", "."} or any(fnmatch.fnmatchcase(path, pattern) for pattern in UNUSED):
                continue
            mode = member.mode & 0o1777  # no program of an image needs more rights than its caller
            if member.issym():
                yield Entry(path, link=member.linkname)
            elif member.isdir():
                yield Entry(path, mode=mode)
            elif member.isfile() or member.islnk():  # a hard link becomes a file: its target may sort after it
                content = tar.extractfile(member)
                if content is not None:
                    yield Entry(path, content.read(), mode=mode)
