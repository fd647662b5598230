"""1.1 Highly available control plane."""

import pytest

from policies import rules
from policies.facts.control_plane import ControlPlaneOutage
from policies.facts.declared import Declared
from policies.facts.kubernetes import Snapshot
from policies.facts.nodes import Nodes


@pytest.mark.requirement("1.1", "control-plane-nodes")
def test_enough_control_plane_nodes_are_ready(snapshot: Snapshot, judge: rules.Judge) -> None:
    """Enough control-plane nodes are Ready for one of them to be lost."""
    judge(rules.control_plane.ready_nodes, snapshot)


@pytest.mark.requirement("1.1", "control-plane-components")
def test_every_component_is_ready_on_enough_nodes(snapshot: Snapshot, judge: rules.Judge) -> None:
    """API servers, controller managers and schedulers are ready on as many nodes."""
    judge(rules.control_plane.components, snapshot)


@pytest.mark.requirement("1.1", "etcd-members")
def test_etcd_has_an_odd_number_of_voters(nodes: Nodes, judge: rules.Judge) -> None:
    """etcd has an odd number of voting members, and all of them know the same ones."""
    judge(rules.control_plane.etcd_members, nodes)


@pytest.mark.requirement("1.1", "etcd-health")
def test_every_etcd_member_is_healthy(nodes: Nodes, judge: rules.Judge) -> None:
    """Every etcd member is healthy from wherever it is asked, and all follow one leader."""
    judge(rules.control_plane.etcd_health, nodes)


@pytest.mark.requirement("1.1", "etcd-alarms")
def test_etcd_has_raised_no_alarm(nodes: Nodes, judge: rules.Judge) -> None:
    """No etcd member has raised an alarm."""
    judge(rules.control_plane.etcd_alarms, nodes)


@pytest.mark.requirement("1.1", "node-pressure")
def test_no_node_is_under_pressure(snapshot: Snapshot, judge: rules.Judge) -> None:
    """No node is short of memory, disk or process numbers."""
    judge(rules.control_plane.node_pressure, snapshot)


@pytest.mark.requirement("1.1", "version-skew")
def test_kubelets_keep_up_with_the_api_server(snapshot: Snapshot, judge: rules.Judge) -> None:
    """No kubelet is newer than the API server, nor too many minor versions older."""
    judge(rules.control_plane.version_skew, snapshot)


@pytest.mark.requirement("1.1", "certificates")
def test_certificates_stay_valid(nodes: Nodes, judge: rules.Judge) -> None:
    """Every certificate of the cluster on every node stays valid long enough to be renewed by hand."""
    judge(rules.control_plane.certificates, nodes)


@pytest.mark.requirement("1.1", "namespaces")
def test_the_environments_have_their_namespaces(snapshot: Snapshot, declared: Declared, judge: rules.Judge) -> None:
    """Every environment that the target declares has its namespace."""
    judge(rules.control_plane.namespaces, snapshot, declared)


@pytest.mark.requirement("1.1", "write-gap")
@pytest.mark.disrupts("control-plane")
def test_writes_resume_within_the_limit(control_plane_outage: ControlPlaneOutage, judge: rules.Judge) -> None:
    """Losing a control-plane node stops writes to the API no longer than allowed."""
    judge(rules.control_plane.write_gap, control_plane_outage)


@pytest.mark.requirement("1.1", "acknowledged-writes")
@pytest.mark.disrupts("control-plane")
def test_no_acknowledged_write_is_lost(control_plane_outage: ControlPlaneOutage, judge: rules.Judge) -> None:
    """Losing a control-plane node loses no write that the API acknowledged."""
    judge(rules.control_plane.acknowledged_writes, control_plane_outage)


@pytest.mark.requirement("1.1", "pods-untouched")
@pytest.mark.disrupts("control-plane")
def test_running_pods_are_left_alone(control_plane_outage: ControlPlaneOutage, judge: rules.Judge) -> None:
    """Losing a control-plane node neither restarts nor moves a running pod."""
    judge(rules.control_plane.pods_untouched, control_plane_outage)
