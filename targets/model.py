"""What a target file may say, and how it is found.

A target names a deployment *on purpose*: the kubeconfig's context must be the one written here, and disruption happens
only where the target allows it. It says where credentials come from, never what they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from policies.documents import DocumentError, KeyPath, Problem, Strict, did_you_mean, key_text, mistake, read

TARGETS: Final = Path(__file__).parent

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = get_args(Day)
TimeOfDay: TypeAlias = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Power: TypeAlias = Literal["cluster-admin", "wildcards", "secrets-read", "escalation"]
DnsLabel: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Text: TypeAlias = Annotated[str, Field(min_length=1, pattern=r"\S")]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
RequirementId: TypeAlias = Annotated[str, Field(pattern=r"^([1-9]|10)\.[1-9][0-9]?$")]
DnsName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]

_PATH_HELP = "A path; ~, $NAME and ${NAME} are filled in from the environment of whoever runs."


class Cluster(Strict):
    """How the API is reached."""

    kubeconfig: Text = Field(description=_PATH_HELP)
    context: Text = Field(description="The context in that file; it must be named here, the current one is not used.")
    source_address: Annotated[str, Field(pattern=r"^[0-9a-fA-F:.]+$")] | None = Field(
        default=None,
        description="Connect to API and nodes from this address of this machine only; without it here nothing is sent.",
    )

    @property
    def kubeconfig_path(self) -> Path:
        """The kubeconfig with ~ and variables filled in. Raises `DocumentError` where a variable is not set."""
        return expand(self.kubeconfig, ("cluster", "kubeconfig"))


class Identities(Strict):
    """The two service accounts that the checks act as; the context's own identity only issues their tokens."""

    namespace: DnsLabel = Field(default="verify-system", description="Where both accounts live.")
    scanner: DnsLabel = Field(default="scanner", description="Reads; no Secret, no exec.")
    disruptor: DnsLabel = Field(default="disruptor", description="Probes and faults, with a short-lived token.")


class Application(Strict):
    """The application's identity in one environment, and the Secret that only it may read."""

    service_account: DnsLabel
    secret: DnsName = Field(description="The name of the Secret; its content is never read, only whether it would be.")


class Namespaces(Strict):
    """The namespaces that are environments, and the application in them."""

    environments: Annotated[tuple[DnsLabel, ...], Field(min_length=1)] = ("production", "staging", "monitoring")
    applications: dict[DnsLabel, Application] = Field(
        default={}, description="By namespace; cross-namespace access is tried between every two of them."
    )

    @model_validator(mode="after")
    def _applications_live_in_environments(self) -> Self:
        for namespace in self.applications:
            if namespace not in self.environments:
                sentence = f'"{namespace}" is not one of the environments.' + did_you_mean(namespace, self.environments)
                raise mistake(("applications", namespace), sentence)
        return self


class ControlPlane(Strict):
    """The one address that stands for all API servers."""

    endpoint: Annotated[str, Field(pattern=r"^https://[^\s/]+$")] | None = Field(
        default=None, description="https://host:port; without it, the server of the kubeconfig's context."
    )


class Ssh(Strict):
    """How nodes are reached for what only they know: certificates on disk, etcd, flags, clock."""

    user: Text = "root"
    key: Text = Field(description=f"The private key file. {_PATH_HELP}")
    known_hosts: Text = Field(description=f"Host keys are checked against this file. {_PATH_HELP}")
    port: Port = 22
    hosts: dict[DnsName, Text] = Field(
        default={}, description="Host by node name, for nodes that are not reached at their InternalIP."
    )

    @property
    def key_path(self) -> Path:
        """The private key with ~ and variables filled in. Raises `DocumentError` where a variable is not set."""
        return expand(self.key, ("ssh", "key"))

    @property
    def known_hosts_path(self) -> Path:
        """The host keys with ~ and variables filled in. Raises `DocumentError` where a variable is not set."""
        return expand(self.known_hosts, ("ssh", "known_hosts"))


class Cni(Strict):
    """The DaemonSet that is the pod network."""

    name: Literal["flannel", "calico"]
    namespace: DnsLabel
    daemonset: DnsName


class ServiceName(Strict):
    """A Service in a namespace."""

    namespace: DnsLabel
    service: DnsLabel


class ServicePort(ServiceName):
    """A port of a Service in a namespace."""

    port: Port


class Network(Strict):
    """The pod network, and the names that have to resolve on it."""

    cni: Cni
    overlay: Literal["vxlan", "none"] = Field(description="What wraps packets between nodes.")
    service_cidr: Annotated[str, Field(pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$")] | None = Field(
        default=None, description="The addresses of Services; no node's pod range may overlap it."
    )
    service: ServiceName = Field(
        default=ServiceName(namespace="default", service="kubernetes"), description="A Service with a cluster IP."
    )
    headless: ServiceName = Field(description="A headless Service with at least one ready endpoint.")
    external_names: Annotated[tuple[DnsName, ...], Field(min_length=1)] = Field(
        description="Names outside the cluster that pods must be able to resolve."
    )


class AllowedPowers(Strict):
    """Subjects that hold dangerous powers on purpose, beside Kubernetes' own (policies/allowlists/kubernetes.yaml)."""

    subject: Annotated[str, Field(pattern=r"^(User/.+|Group/.+|ServiceAccount/[^/]+/[^/]+)$")] = Field(
        description="User/name, Group/name or ServiceAccount/namespace/name; * stands for any text."
    )
    powers: Annotated[tuple[Power, ...], Field(min_length=1)]
    reason: Text = Field(description="Why; it is printed beside every finding that this lets pass.")


class Rbac(Strict):
    """Who may hold what."""

    allow: tuple[AllowedPowers, ...] = ()


class Monitoring(Strict):
    """Where alerts arrive."""

    alertmanager: ServicePort


class ObjectStore(Strict):
    """The volume on which an object store of our own keeps its objects, so that their bytes can be looked at."""

    namespace: DnsLabel
    claim: DnsName = Field(description="The PersistentVolumeClaim; a pod beside the store mounts it, to read alone.")
    folder: str = Field(default="", description="Where in it; without it, all of it.")


class Postgres(Strict):
    """The PostgreSQL cluster that CloudNativePG keeps, and the role that verifies it."""

    namespace: DnsLabel
    cluster: DnsLabel = Field(description="The Cluster's name; its Services are NAME-rw, NAME-ro and NAME-r.")
    credentials: DnsName = Field(
        description="The Secret with `username` and `password` of a role that is a member of pg_monitor and "
        "pg_read_all_data and owns `database`; only a pod beside the database mounts it."
    )
    database: Text = Field(default="verify", description="A database of its own, where tables are made and dropped.")
    ca: DnsName | None = Field(
        default=None, description="The Secret with `ca.crt`; without it CloudNativePG's own, CLUSTER-ca."
    )
    pooler: DnsLabel | None = Field(default=None, description="The Pooler's name; without it pooling is not evaluated.")
    object_store: ObjectStore | None = Field(
        default=None,
        description="Where backups lie, if it is ours; without it their encryption is told by the store's word alone.",
    )

    @property
    def ca_secret(self) -> str:
        """The Secret whose ca.crt the servers' certificates hold against."""
        return self.ca or f"{self.cluster}-ca"


class Redis(ServicePort):
    """The Redis cluster."""

    statefulset: DnsLabel
    port: Port = 6379
    credentials: DnsName = Field(description="The Secret with `password`; only a pod beside Redis mounts it.")
    ca: DnsName = Field(description="The Secret with `ca.crt`, which the servers' certificates hold against.")


class BlastRadius(Strict):
    """The most that one fault may touch; one that says it would touch more is not injected."""

    nodes: int = Field(default=1, ge=1)
    pods: int = Field(default=30, ge=1)
    minutes: float = Field(default=2, gt=0, le=60)


def _zone(name: str) -> tzinfo:
    """A time zone by its IANA name; UTC also on a machine without a time zone database."""
    return UTC if name == "UTC" else ZoneInfo(name)


class Window(Strict):
    """When faults may be injected: on these days between two times of day, past midnight where ``to`` is not later."""

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = DAYS
    opens: TimeOfDay = Field(alias="from", description="HH:MM; the day is the one on which it opens.")
    closes: TimeOfDay = Field(alias="to", description="HH:MM; the same as `from` for 24 hours.")
    timezone: Text = Field(default="UTC", description="An IANA name, e.g. Europe/Berlin.")

    @model_validator(mode="after")
    def _timezone_is_known(self) -> Self:
        try:
            _zone(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise mistake(("timezone",), f'there is no time zone "{self.timezone}".') from error
        return self

    def around(self, at: datetime) -> tuple[datetime, datetime]:
        """When it opens and closes: the time that holds ``at``, or else the next one. UTC, as ``at`` must be."""
        zone = _zone(self.timezone)
        today = at.astimezone(zone).date()
        opens, closes = time.fromisoformat(self.opens), time.fromisoformat(self.closes)
        for number in range(-1, len(DAYS) + 1):
            day = today + timedelta(days=number)
            if DAYS[day.weekday()] in self.days:
                last = day if closes > opens else day + timedelta(days=1)
                start, end = (datetime.combine(d, t, zone).astimezone(UTC) for d, t in ((day, opens), (last, closes)))
                if end > at:
                    return start, end
        raise AssertionError("a window has at least one day of the week")  # the model holds that


class ServiceBudget(ServiceName):
    """How long a Service may be seen without a ready endpoint."""

    seconds: float = Field(ge=1, le=3600)


class ErrorBudget(Strict):
    """How long, while one fault is in force, the deployment may be seen to fail before the fault is ended early."""

    api_seconds: float = Field(
        default=60,
        ge=1,
        le=3600,
        description="Of the endpoint's /readyz; below 1.1's api_write_gap a breach of that is never seen.",
    )
    services: tuple[ServiceBudget, ...] = Field(default=(), description="The applications' Services.")


class NodeFiles(Strict):
    """Backups that lie as files on control-plane nodes, read over SSH."""

    folder: Annotated[str, Field(pattern=r"^/")] = Field(description="Files *.db in it are etcd's own snapshots.")
    max_age_hours: float = Field(default=26, gt=0, description="A day and a little, for one that is made every night.")


class Backups(Strict):
    """Where the newest backup of something is seen. A fault that puts that at risk needs one that is young enough."""

    etcd: NodeFiles | None = Field(default=None, description="Without it no control-plane node is cut off.")
    postgres_max_age_hours: float = Field(
        default=26, gt=0, description="Without a complete backup this young no instance of the database is harmed."
    )


class Disrupt(Strict):
    """Whether faults may be injected here, when, and how far they may go."""

    allowed: bool = False
    max_seconds: int = Field(default=120, ge=1, le=3600, description="A fault undoes itself after this time.")
    blast_radius: BlastRadius = BlastRadius()
    windows: tuple[Window, ...] = Field(default=(), description="A fault must fit into one; without any, always.")
    error_budget: ErrorBudget = ErrorBudget()
    backups: Backups = Backups()


class Store(Strict):
    """An S3 bucket with Object Lock: every run is kept there as well, where nobody can delete it before its time."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)*$")] | None = Field(
        default=None, description="Before the run's name, for example that of the deployment."
    )
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+$")] | None = Field(
        default=None, description="https://host[:port]; without it AWS."
    )
    region: Text | None = Field(default=None, description="Without it, what AWS's own settings say.")
    retention_days: int = Field(ge=1, le=36500, description="How long nothing of a run can be deleted.")
    mode: Literal["COMPLIANCE", "GOVERNANCE"] = Field(
        default="COMPLIANCE", description="Nobody can shorten COMPLIANCE; GOVERNANCE some can, for trying things out."
    )
    credentials: Text | None = Field(
        default=None,
        description=f"A credentials file as AWS's tools have it. {_PATH_HELP} Without it and profile, wherever these "
        "tools look: the environment, ~/.aws, the machine's role.",
    )
    profile: Text | None = Field(default=None, description="The profile in it; without it `default`.")


class Timestamp(Strict):
    """An RFC 3161 authority, whose word it is when a signature was there."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    ca: Text = Field(description=f"PEM file with the certificates that its timestamps hold against. {_PATH_HELP}")


class Evidence(Strict):
    """How what a run leaves is signed, stamped and kept."""

    key: Text | None = Field(
        default=None,
        description="What signs: a PEM file, env:NAME (PEM in a variable) or hv:NAME (a key of Vault's transit); "
        "--key and the variable VERIFY_KEY go before it. Without any, a run is not signed and says so.",
    )
    timestamp: Timestamp | None = Field(default=None, description="Without it, signatures have no timestamp.")
    store: Store | None = Field(default=None, description="Without it, a run is kept in the folder --out alone.")


class Unchecked(Strict):
    """A requirement or clause of which the target says why no check is asked."""

    requirement: RequirementId
    clause: str | None = Field(default=None, description="Without it the whole requirement.")


class NotApplicable(Unchecked):
    """Something that this deployment does not have to meet; it is reported with its reason, never as passed."""

    reason: Text


class Manual(Unchecked):
    """Something that only a person can judge here; it is reported as waiting for one, never as passed."""

    look_at: Text = Field(description="What the person has to look at, and what must be seen there.")


class Emulated(Strict):
    """A component that another one stands in for; every report names it."""

    component: Text
    by: Text


class Target(Strict):
    """One deployment."""

    name: DnsLabel
    description: Text
    environment: Literal["lab", "staging", "production"] = Field(
        description='In "production" a disruption needs --disrupt typed out as well.'
    )
    cluster: Cluster
    identities: Identities = Identities()
    namespaces: Namespaces = Namespaces()
    control_plane: ControlPlane = ControlPlane()
    ssh: Ssh | None = Field(default=None, description="Without it, what only a node knows is not evaluated.")
    network: Network
    probe_image: Text = Field(description="An image with fping, dig and curl, for the pods that probe.")
    client_image: Text | None = Field(
        default=None,
        description="An image with Python 3.11, psycopg 3, redis-py and boto3, for the pods that speak with databases; "
        "without it, what only a database knows is not evaluated.",
    )
    rbac: Rbac = Rbac()
    postgres: Postgres | None = Field(default=None, description="Without it, the database is not evaluated.")
    redis: Redis | None = Field(default=None, description="Without it, Redis is not evaluated.")
    monitoring: Monitoring | None = Field(default=None, description="Without it, alerts are not evaluated.")
    disrupt: Disrupt = Disrupt()
    limits: dict[RequirementId, dict[str, Annotated[float, Field(ge=0)]]] = Field(
        default={}, description="Limits by requirement and name; one looser than the catalogue's is a deviation."
    )
    evidence: Evidence = Evidence()
    not_applicable: tuple[NotApplicable, ...] = ()
    manual: tuple[Manual, ...] = ()
    emulated: tuple[Emulated, ...] = ()

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        seen: set[tuple[str, str | None]] = set()
        for key, entries in (("not_applicable", self.not_applicable), ("manual", self.manual)):
            for index, entry in enumerate(entries):
                if (entry.requirement, entry.clause) in seen:
                    raise mistake((key, index), "this is said twice.")
                seen.add((entry.requirement, entry.clause))
        return self

    def not_applicable_reason(self, requirement: str, clause: str) -> str | None:
        """Why a clause does not apply here, or None where it does."""
        for entry in self.not_applicable:
            if entry.requirement == requirement and entry.clause in {None, clause}:
                return entry.reason
        return None

    def for_a_person(self, requirement: str, clause: str) -> str | None:
        """What a person has to look at to judge a clause here, or None where a check may."""
        for entry in self.manual:
            if entry.requirement == requirement and entry.clause in {None, clause}:
                return entry.look_at
        return None


def expand(text: str, at: KeyPath = ()) -> Path:
    """A path from a target with ~, $NAME and ${NAME} filled in. Raises `DocumentError` for a variable not set."""
    expanded = os.path.expandvars(text)
    unset = re.search(r"\$(\w+|\{[^}]*\})", expanded)
    if unset is not None:
        name = unset.group(1).strip("{}")
        sentence = f"the environment variable {name} is not set; set it, or write the path out in the target."
        raise DocumentError([Problem("target", None, key_text(at), sentence)])
    # Not Path.expanduser: it raises where the user is unknown; the file is then reported as missing, by its name.
    return Path(os.path.expanduser(expanded))  # noqa: PTH111


# Finds what only the catalogue can know is wrong: pairs of a key path in the target and a sentence.
Check: TypeAlias = Callable[[Target], Iterable[tuple[KeyPath, str]]]


def known_targets(folder: Path = TARGETS) -> tuple[str, ...]:
    """The names of the targets of this checkout; an example is none."""
    files = (file.name for file in folder.glob("*.yaml") if not file.name.endswith(".example.yaml"))
    return tuple(sorted(name.removesuffix(".yaml") for name in files))


def load_target(name_or_path: str, *, folder: Path = TARGETS, check: Check | None = None) -> Target:
    """The target of this name (targets/NAME.yaml) or in this file (anything with / or ending in .yaml or .yml).

    Raises `DocumentError`; for a name that is not known it lists the known ones.
    """
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        file = Path(name_or_path)
    else:
        names = known_targets(folder)
        if name_or_path not in names:
            known = ", ".join(names) or "none"
            sentence = f'there is no target "{name_or_path}"; known are: {known}. Or give the path of a YAML file.'
            raise DocumentError([Problem("--target", None, "", sentence)])
        file = folder / f"{name_or_path}.yaml"
    document = read(file)
    target = document.parse(Target)
    if check is not None:
        problems = [document.problem(path, sentence) for path, sentence in check(target)]
        if problems:
            raise DocumentError(problems)
    return target
