"""`verify export` as it is typed: files, wrong calls, and what is asked of a cluster that reports are written to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from typer.testing import CliRunner, Result

from harness.cli import app
from policies.catalogue import Catalogue, load_catalogue
from policies.finding import Finding
from reports.model import Verdict
from reports.store import RunStore
from tests.reports.example import make_run
from tests.reports.gate_runs import a_waiver
from tests.unit.small_server import Asked, SmallServer, serving, status

WITHIN_S: Final = 2.0
PATH: Final = "/apis/openreports.io/v1alpha1/clusterreports/finbot-verify-lab-"


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def store(tmp_path: Path, catalogue: Catalogue) -> RunStore:
    return make_run(tmp_path / "runs", catalogue)


def target(folder: Path, server: str, name: str = "lab") -> Path:
    """A target whose API is the small server."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "operator"}}],
            }
        )
    )
    file = folder / f"{name}.yaml"
    network: dict[str, Any] = {
        "cni": {"name": "flannel", "namespace": "kube-system", "daemonset": "flannel"},
        "overlay": "vxlan",
        "headless": {"namespace": "kube-system", "service": "dns"},
        "external_names": ["example.org"],
    }
    file.write_text(
        yaml.safe_dump(
            {
                "name": name,
                "description": "A small one",
                "environment": "staging",
                "cluster": {"kubeconfig": str(kubeconfig), "context": "here"},
                "network": network,
                "probe_image": "probe:1",
            }
        )
    )
    return file


def test_oscal_is_printed_or_written(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    printed = verify("export", "oscal", str(store.path))
    written = verify("export", "oscal", store.run_id, "--runs", str(store.path.parent), "--output", str(file))
    assert (printed.exit_code, written.exit_code) == (0, 0)
    assert file.read_text() == printed.stdout
    assert msgspec.json.decode(file.read_bytes())["assessment-results"]["import-ap"]
    assert f"written: {file}" in written.stderr


def test_openreports_are_yaml_that_kubectl_takes(store: RunStore) -> None:
    printed = verify("export", "openreports", str(store.path))
    assert printed.exit_code == 0
    reports = list(yaml.safe_load_all(printed.stdout))
    assert [report["kind"] for report in reports] == ["ClusterReport"] * 10
    labels = {value for report in reports for value in report["metadata"]["labels"].values()}
    assert store.run_id in labels
    assert all(isinstance(label, str) for label in labels)


def test_a_run_is_never_changed_by_an_export(store: RunStore) -> None:
    before = store.digests()
    assert verify("export", "oscal", str(store.path)).exit_code == 0
    assert verify("export", "openreports", str(store.path)).exit_code == 0
    assert store.digests() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["oscal", "nowhere"], "nowhere holds no run"),
        (["oscal", "RUN", "--profile", "nigthly"], 'there is no profile "nigthly". Did you mean'),
        (["oscal", "RUN", "--output", "/nowhere/x.json"], "cannot write /nowhere/x.json"),
        (["oscal", "RUN", "--waivers", "/nowhere/w.yaml"], "/nowhere/w.yaml"),
        (["openreports", "RUN", "--apply"], "--apply and --target belong together"),
        (["openreports", "RUN", "--target", "lab"], "--apply and --target belong together"),
    ],
)
def test_a_wrong_call_ends_with_a_sentence(store: RunStore, arguments: list[str], sentence: str) -> None:
    result = verify("export", *(str(store.path) if a == "RUN" else a for a in arguments))
    assert result.exit_code == 4
    assert sentence in result.stderr


def test_waivers_keep_the_terms_of_a_profile(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "waivers.yaml"
    three_weeks = a_waiver(
        clause="secrets-read", subject="Group/system:authenticated", issued="2026-11-20", expires="2026-12-11"
    )
    file.write_text(yaml.safe_dump({"waivers": [three_weeks.model_dump(exclude_none=True)]}))

    def accepted(*options: str) -> int:
        said = verify("export", "oscal", str(store.path), "--waivers", str(file), *options)
        assert said.exit_code == 0, said.stderr
        risks = msgspec.json.decode(said.stdout)["assessment-results"]["results"][0]["risks"]
        return sum(risk["status"] == "deviation-approved" for risk in risks)

    assert accepted() == 1  # nightly, for the run names no profile
    assert accepted("--profile", "golive") == 0


def test_a_run_of_ten_thousand_subjects_is_exported_in_time(store: RunStore) -> None:
    (store.path / "manifest.json").unlink()
    found = tuple(Finding(f"pod production/api-{n} on w1", "to be there", f"seen {n}", True) for n in range(10_000))
    template = store.read().results[0]
    store.append_result(
        msgspec.structs.replace(template, clause="pods-untouched", verdict=Verdict.passed, findings=found)
    )
    for name in ("oscal", "openreports"):
        started = time.process_time()
        assert verify("export", name, str(store.path)).exit_code == 0
        assert time.process_time() - started < WITHIN_S


# --- into a cluster


@pytest.fixture
def cluster() -> Iterator[SmallServer]:
    with serving(lambda request: (200, {})) as server:
        yield server


def apply(store: RunStore, server: str, folder: Path, name: str = "lab") -> Result:
    return verify("export", "openreports", str(store.path), "--apply", "--target", str(target(folder, server, name)))


def test_reports_are_applied_by_the_operator_and_nothing_else_is_asked(
    store: RunStore, cluster: SmallServer, tmp_path: Path
) -> None:
    result = apply(store, cluster.url, tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "written: 10 ClusterReports" in result.stderr
    assert [(a.method, a.path) for a in cluster.asked] == [("PATCH", f"{PATH}{n:02}") for n in range(1, 11)]
    for asked in cluster.asked:
        assert asked.headers["Authorization"] == "Bearer operator"
        assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
        assert asked.params == {"fieldManager": "finbot-verify", "force": "true", "fieldValidation": "Strict"}
        assert asked.body["metadata"]["labels"]["verify.finbot.dev/run"] == store.run_id


@pytest.mark.parametrize(
    ("code", "message", "sentence"),
    [
        (404, "the server could not find the requested resource", "apply bootstrap/layers/50-openreports"),
        (403, "forbidden", "bind the ClusterRole finbot-verify:publisher"),
        (422, "results[0].result: Unsupported value", "Unsupported value"),
        (503, "etcd is down", "look at the API servers' logs"),
    ],
)
def test_a_cluster_that_refuses_is_told_with_what_to_do(
    store: RunStore, tmp_path: Path, code: int, message: str, sentence: str
) -> None:
    def refuse(request: Asked) -> tuple[int, Any]:
        return (200, {}) if request.path.endswith("-01") else (code, status(code, message))

    with serving(refuse) as server:
        result = apply(store, server.url, tmp_path)
    assert result.exit_code == 4
    assert "writing ClusterReport finbot-verify-lab-02" in result.stderr
    assert sentence in result.stderr
    assert len(server.asked) == 2


def test_a_cluster_that_does_not_answer_is_told(store: RunStore, tmp_path: Path) -> None:
    result = apply(store, "http://127.0.0.1:1", tmp_path)
    assert result.exit_code == 4
    assert "127.0.0.1:1" in result.stderr


def test_reports_are_never_written_to_another_deployment(store: RunStore, cluster: SmallServer, tmp_path: Path) -> None:
    result = apply(store, cluster.url, tmp_path, name="other")
    assert result.exit_code == 4
    assert f'run {store.run_id} is of "lab", not of "other"' in result.stderr
    assert cluster.asked == []
