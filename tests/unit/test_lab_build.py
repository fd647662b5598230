"""The lab's pins, their keys in the cache, and image archives; nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bootstrap.lab import build, images, layout, oci, packages
from bootstrap.lab.errors import LabError

PINS = """
toolchain = "go1.26.8"

[modules.one]
path = "example.org/one"
version = "v1.0.0"
stamp = ["example.org/one.Version"]

[modules.two]
path = "example.org/two/v2"
version = "v2.0.0"

[components.first]
module = "one"
package = "example.org/one/cmd/first"
why = "the first"

[components.second]
module = "two"
package = "example.org/two/v2/cmd/second"
why = "the second"

[components.rare]
module = "two"
package = "example.org/two/v2/cmd/rare"
why = "seldom"
on_demand = true
"""


class Folder:
    """Pins in a folder of the test's own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "components.toml"
        self.file.write_text(PINS)
        for name, line in (("one", "example.org/one v1.0.0"), ("two", "example.org/two/v2 v2.0.0")):
            (path / "modules" / name).mkdir(parents=True)
            (path / "modules" / name / "go.mod").write_text(f"module lab.local/{name}\n\ngo 1.26\n\nrequire {line}\n")
            (path / "modules" / name / "go.sum").write_text(f"{line} h1:abc=\n")

    def replace(self, old: str, new: str, file: str = "components.toml") -> None:
        text = (self.path / file).read_text()
        assert old in text
        (self.path / file).write_text(text.replace(old, new))

    def pins(self) -> build.Pins:
        return build.pins(self.file, self.path / "modules")

    def keys(self) -> dict[str, str]:
        return {name: component.key for name, component in self.pins().components.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_changed_pin_changes_the_keys_of_its_own_module_only(folder: Folder) -> None:
    before = folder.keys()
    folder.replace("h1:abc=", "h1:def=", "modules/one/go.sum")
    after = folder.keys()
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("go1.26.8", "go1.26.9"),
        ("/cmd/first", "/cmd/other"),
        ('stamp = ["example.org/one.Version"]', ""),
        ('stamp = ["example.org/one.Version"]', 'stamp = ["example.org/one.Version"]\ntags = ["static"]'),
        ('stamp = ["example.org/one.Version"]', 'ldflags = ["-X a=b"]'),
        ('why = "the first"', 'why = "the first"\nbinary = "other"'),
        ('why = "the first"', 'why = "the first"\nomit_from = "main.go"\nomit = ["cloud"]'),
        ('package = "example.org/one/cmd/first"', 'file = "types.yaml"'),
    ],
)
def test_all_that_a_binary_is_made_from_is_in_its_key(folder: Folder, old: str, new: str) -> None:
    before = folder.keys()["first"]
    folder.replace(old, new)
    assert folder.keys()["first"] != before


def test_a_reason_is_no_pin(folder: Folder) -> None:
    before = folder.keys()
    folder.replace("the first", "said better")
    assert folder.keys() == before


def test_a_program_of_a_wheel_is_another_when_the_wheel_is(folder: Folder) -> None:
    wheel = f'[components.third]\nwheel = "third==1.0"\nsha256 = "{"a" * 64}"\nfile = "third"\nwhy = "the third"\n'
    with folder.file.open("a") as file:
        file.write(wheel)
    third = folder.pins().components["third"]
    assert (third.version, third.binary) == ("1.0", "third")
    folder.replace("a" * 64, "b" * 64)
    assert folder.pins().components["third"].key != third.key


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[modules.one]", "[modules.one", "cannot be read"),
        ('toolchain = "go1.26.8"', "", "`toolchain` must name a Go release"),
        ('why = "the first"', "", "[components.first] lacks the key why"),
        ('why = "the first"', "why = 1", "why must be a text"),
        ('why = "the first"', 'why = "x"\ncolour = "red"', "unknown key colour"),
        ('stamp = ["example.org/one.Version"]', "stamp = [1]", "stamp must be a list of texts"),
        ('why = "the first"', 'why = "x"\non_demand = "yes"', "on_demand must be true or false"),
        ('module = "one"', 'module = "three"', "add [modules.three]"),
        ('module = "one"', "", "[components.first] lacks module"),
        ('version = "v1.0.0"', 'version = "v1.1.0"', "pins example.org/one v1.1.0"),
        ("[modules.two]", "[modules.absent]\npath = 'a'\nversion = 'v1'\n[modules.two]", "absent/go.mod"),
        ('module = "one"', 'source = "missing.c"', "does not exist"),
        ('why = "the first"', 'why = "x"\nomit = ["a"]', "both `omit_from` and `omit`"),
        ('why = "the first"', 'why = "x"\nfile = "a.yaml"', "`package` or `file`, not both"),
        ('why = "the first"', 'why = "x"\nwheel = "one==1.0"\nfile = "one"', "must have `wheel` as NAME==VERSION"),
        ("toolchain", "colour = 1\ntoolchain", "the key colour is not known"),
        ("[modules.one]", "[modules]\none = 1\n[modules.other]", "[modules.one] must be a table"),
    ],
)
def test_bad_pins_give_a_sentence(folder: Folder, old: str, new: str, words: str) -> None:
    folder.replace(old, new)
    with pytest.raises(build.PinsError) as caught:
        folder.pins()
    assert words in str(caught.value)
    assert "components.toml" in str(caught.value)


def test_components_on_demand_are_built_only_by_name(folder: Folder) -> None:
    pins = folder.pins()
    assert [component.name for component in pins.chosen(None)] == ["first", "second"]
    assert [component.name for component in pins.chosen(["rare", "first"])] == ["first", "rare"]
    with pytest.raises(build.PinsError, match="no component third"):
        pins.chosen(["third"])


def test_the_labs_own_pins_are_whole() -> None:
    pins = build.pins()
    versions = {name: component.version for name, component in pins.components.items()}
    assert versions["kube-apiserver"] == layout.KUBERNETES_VERSION
    assert versions["etcd"] == f"v{layout.ETCD_VERSION}"
    assert {program for recipe in images.RECIPES for program in recipe.programs} <= pins.components.keys()
    for name in ("kubelet", "kubeadm", "kubectl", "containerd", "containerd-shim-runc-v2", "ctr", "pause", "kwok"):
        assert name in pins.components
    modules = {component.module for component in pins.components.values() if component.module}
    assert {module.name for module in modules} == {path.name for path in build.MODULES.iterdir()}


def test_only_the_builds_used_last_stay(tmp_path: Path) -> None:
    for number, name in enumerate(("kube-router-1", "kube-router-2", "kube-router-3", "kube-1")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (number, number))
    (tmp_path / "kube-router-4.tar").touch()
    build.forget_older(tmp_path, "kube-router")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kube-1", "kube-router-3", "kube-router-4.tar"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + bytes(100_000))
    base = oci.write_layer(tmp_path / "base.tar", images.SYSTEM)
    own = oci.write_layer(
        tmp_path / "own.tar",
        [
            oci.Entry("usr/local/bin/program", program),
            oci.Entry("data", owner=65534),
            oci.Entry("bin/p", link="program"),
        ],
    )
    target = tmp_path / "image.tar"
    oci.write_archive(target, "lab.local/program:v1", [base, own, base], entrypoint=["/program"], user="65534")
    return target


def test_an_archive_is_a_whole_oci_layout(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        content = {name: file.read() for name, file in files.items() if file is not None}
    blobs = {name: data for name, data in content.items() if name.startswith("blobs/")}
    for name, data in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(descriptor: dict[str, object]) -> bytes:
        data = blobs["blobs/" + str(descriptor["digest"]).replace(":", "/")]
        assert len(data) == descriptor["size"]
        return data

    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "lab.local/program:v1"
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    assert [layer["digest"] for layer in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert config["config"]["User"] == "65534"
    for layer in manifest["layers"]:
        blob(layer)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    entries = [oci.Entry("b", b"2", mode=0o600), oci.Entry("a", b"1"), oci.Entry("c", link="a")]
    first = oci.write_layer(tmp_path / "1.tar", entries)
    second = oci.write_layer(tmp_path / "2.tar", reversed(entries))
    assert first.digest == second.digest
    with tarfile.open(first.file) as tar:
        assert [(m.name, m.mode, m.uid, m.mtime, m.linkname) for m in tar] == [
            ("a", 0o755, 0, 0, ""),
            ("b", 0o600, 0, 0, ""),
            ("c", 0o777, 0, 0, "a"),
        ]


def test_an_unknown_image_or_component_is_named(tmp_path: Path) -> None:
    nothing = build.Artifacts({})
    with pytest.raises(LabError, match="no image third"):
        images.build_images(nothing, ["third"], print)
    with pytest.raises(LabError, match="pause was not asked for"):
        images.build_images(nothing, ["pause"], print)


def test_packages_that_a_debian_always_has_are_not_missing() -> None:
    assert "util-linux" in packages.PACKAGES
    assert "util-linux" not in packages.missing()


def test_a_builder_that_fails_says_why_and_one_that_is_stopped_leaves_nothing_running(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        tools = build.Tools(lock.fileno())
        with pytest.raises(LabError, match=r"Building it failed with exit code 3.*\n.*no such flag"):
            tools.run(["sh", "-c", "echo no such flag >&2; exit 3"], "it")
        with pytest.raises(LabError, match="none-such is not on this machine"):
            tools.run(["none-such"], "it")
        with ThreadPoolExecutor(1) as lane:
            (tmp_path / "began").touch()
            long = lane.submit(tools.run, ["sh", "-c", f"rm {tmp_path}/began; sleep 600 & wait"], "a long one")
            while (tmp_path / "began").exists():
                assert not long.done()
            tools.stop()
            assert isinstance(long.exception(timeout=10), LabError)
        with pytest.raises(LabError, match="given up"):
            tools.run(["true"], "the next")
