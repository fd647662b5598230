"""A run as OSCAL assessment results, for tools of auditors: one `result` with its observations, risks and findings.

OSCAL knows two states of an objective, and only a clause that passed is ``satisfied``. Everything else is
``not-satisfied``: with the reason ``fail`` where it was seen broken, and ``other`` where it was not judged, with the
cause in the remarks. What the run was not meant to judge has no finding; ``reviewed-controls`` names it.

The same run always gives the same bytes: identifiers are derived from its id, times are the run's own, and waivers are
laid over it as of the day on which it ended. Source: NIST OSCAL 1.2, assessment-results model in JSON.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from policies.catalogue import Catalogue, Requirement
from policies.finding import Finding
from policies.framework import Framework
from policies.waivers import Waiver
from reports.beginning import BEGINNING, beginning_of
from reports.canonical import UNREADABLE, pretty
from reports.markup import visible
from reports.model import ClauseResult, RunRecord, Verdict
from reports.overview import ClauseState, RequirementState, overview
from reports.runs import StoredRun
from reports.store import MANIFEST, RESULTS
from reports.waiving import Breach, Overlay

OSCAL: Final = "1.2.1"
NAMESPACE: Final = "https://verify.finbot.dev/ns/oscal"
_IDS: Final = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)

_METHODS: Final = {"inspect": "EXAMINE", "probe": "TEST", "load": "TEST", "disrupt": "TEST"}
_HELD: Final = {True: "pass", False: "fail", None: "not-evaluated"}
_WHY: Final = {
    Verdict.failed: "seen to be violated",
    Verdict.error: "the check itself broke and gave no verdict",
    Verdict.manual: "only a person can judge it",
    Verdict.not_applicable: "does not apply to this deployment",
}

Object: TypeAlias = dict[str, Any]


def assessment_results(record: RunRecord, catalogue: Catalogue, framework: Framework, overlay: Overlay) -> bytes:
    """The whole document, as JSON. ``overlay`` are the waivers as they lie over this run (`waiving.over_run`)."""
    return pretty({"assessment-results": _Export(record, catalogue, framework, overlay).document()})


# --- text and small objects

# What Markdown would obey: `_` only at the edge of a word, `>` never within a line.
_MARKUP: Final = re.compile(r"([\\`*{}\[\]<&~^]|(?<!\w)_|_(?!\w))")


def _line(text: str) -> str:
    """One line without controls, which is all that OSCAL takes as a string; never empty."""
    return " ".join(visible(text).replace("\ufeff", " ").split()) or "(empty)"


def _said(text: str) -> str:
    """What a deployment said, as OSCAL's markup of one line: every character stands for itself."""
    return _MARKUP.sub(r"\\\1", _line(text))


def _object(**parts: Any) -> Object:
    """An object of OSCAL: ``_`` in a name is ``-``, and what is empty is left out, for OSCAL takes no empty lists."""
    return {key.rstrip("_").replace("_", "-"): value for key, value in parts.items() if value not in (None, "", [], {})}


def _prop(name: str, value: object, kind: str = "", remarks: str = "") -> Object:
    return _object(name=name, ns=NAMESPACE, value=_line(str(value)), class_=kind, remarks=remarks)


def _when(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _control(requirement: str) -> str:
    return f"finbot-{requirement}"


def _objective(requirement: str, clause: str = "") -> str:
    return f"{_control(requirement)}_{clause}" if clause else f"{_control(requirement)}_all"


class _Seen(Struct, frozen=True):
    seen_at: datetime


class _Fact(Struct, frozen=True):
    fact: _Seen


class _Export:
    """One run on its way out."""

    def __init__(self, record: RunRecord, catalogue: Catalogue, framework: Framework, overlay: Overlay) -> None:
        self.record = record
        self.manifest = record.manifest
        self.known = record.manifest or beginning_of(Path(record.path))
        """What the run meant to do: a run that was killed says so as well."""
        self.target = record.target or (self.known.target if self.known is not None else "")
        self.catalogue = catalogue
        self.framework = framework
        self.overlay = overlay
        self.over = overview(record, catalogue)
        starts = [origin.started for origin in self.known.resumes] if self.known is not None else []
        self.started = min([StoredRun(record, "").started, *starts])
        self.reviewed = [state for state in self.over.requirements if any(c.wanted for c in state.clauses)]
        self.tool = self._id("tool")
        self.origin = {"actors": [{"type": "tool", "actor-uuid": self.tool}]}
        self.subjects: dict[str, str] = {}
        """UUID of each subject, by the text that names it."""
        self.seen: dict[str, datetime | None] = {}
        self.observations: list[Object] = []
        self.risks: list[Object] = []
        self.findings: list[Object] = []

    def _id(self, *thing: str) -> str:
        return str(uuid.uuid5(_IDS, "\0".join((self.record.run, *thing))))

    # --- the document

    def document(self) -> Object:
        """``assessment-results``."""
        for state in self.reviewed:
            self._requirement(state)
        self._deviations()
        self._not_restored()
        run, target = self.record.run, self.target or "a deployment that the run could not name"
        return {
            "uuid": self._id("assessment-results"),
            "metadata": _object(
                title=_line(f"finbot-verify: {target}, run {run}"),
                last_modified=_when(self.record.ended or self.started),
                version=_line(run),
                oscal_version=OSCAL,
                remarks="Every href to a file is relative to the run's folder.",
            ),
            "import-ap": {
                "href": f"#{self._id('plan')}",
                "remarks": "The plan is the catalogue of requirements, and what the run says that it meant to judge.",
            },
            **_object(local_definitions=_object(objectives_and_methods=[self._objectives(s) for s in self.reviewed])),
            "results": [self._result(target)],
            "back-matter": {"resources": list(self._resources())},
        }

    def _result(self, target: str) -> Object:
        manifest = self.manifest
        props = [_prop("target", target), _prop("run", self.record.run)]
        if self.known is not None:
            props += [
                _prop("catalogue-sha256", self.known.catalogue_digest or "unknown"),
                _prop("commit", self.known.commit or "unknown"),
                *(_prop("resumes", origin.run) for origin in self.known.resumes),
            ]
        if manifest is not None:
            versions = [_prop("version", f"{name} {version}") for name, version in manifest.versions.items() if version]
            props += [
                _prop("exit-code", manifest.exit_code),
                *(
                    [_prop("dry-run", "nothing was broken, so nothing that breaks was judged")]
                    if manifest.dry_run
                    else []
                ),
                _prop("signed-by", manifest.key)
                if manifest.key
                else _prop("not-signed", manifest.unsigned or "no key"),
                *versions,
                *(_prop("emulated", f"{one.component}: by {one.by}") for one in manifest.emulated),
            ]
        else:
            props.append(_prop("interrupted", "the evidence was not closed: the run was killed, or is still at work"))
        props += [_prop("evidence-damaged", sentence) for sentence in self.record.damage]
        return _object(
            uuid=self._id("result"),
            title=_line(f"Run {self.record.run} against {target}"),
            description="What was seen of the live deployment in one run, judged by rules against the catalogue.",
            start=_when(self.started),
            end=_when(manifest.ended) if manifest is not None else None,
            props=props,
            local_definitions=self._definitions(target),
            reviewed_controls=self._reviewed(),
            observations=self.observations,
            risks=self.risks,
            findings=self.findings,
            remarks="\n\n".join(
                f"Waiver not in order ({one.flaw.value}): {one.requirement} {one.clause}, "
                f"{_said(one.subject)}: {_said(one.sentence)}."
                for one in self.overlay.findings
            ),
        )

    def _definitions(self, target: str) -> Object:
        described = self.manifest.description if self.manifest is not None else ""
        tool = {
            "uuid": self.tool,
            "type": "software",
            "title": "finbot-verify",
            "description": "pytest suites that look at the live deployment and judge what they saw by pure rules.",
            "status": {"state": "operational"},
        }
        deployment = {
            "uuid": str(uuid.uuid5(_IDS, f"target\0{target}")),
            "type": "system",
            "title": _said(target),
            "description": _said(described or "The deployment that was verified."),
            "status": {"state": "operational"},
        }
        items = [{"uuid": one, "description": _said(subject)} for subject, one in self.subjects.items()]
        platform = {"uuid": self._id("platform"), "uses-components": [{"component-uuid": self.tool}]}
        assets = {"components": [tool], "assessment-platforms": [platform]}
        return _object(components=[deployment], inventory_items=items, assessment_assets=assets)

    def _objectives(self, state: RequirementState) -> Object:
        requirement = state.requirement
        parts = [
            {
                "id": _objective(requirement.id, clause.slug),
                "name": "objective",
                "title": clause.slug,
                "prose": clause.statement,
                "props": [_prop("kind", clause.kind)],
            }
            for clause in requirement.clauses
        ]
        whole = {"id": _objective(requirement.id), "name": "objective", "prose": requirement.statement, "parts": parts}
        return {"control-id": _control(requirement.id), "description": requirement.title, "parts": [whole]}

    def _reviewed(self) -> Object:
        """What was judged, and in words what was not and why."""
        left_out = [state for state in self.over.requirements if state not in self.reviewed]
        wanted = [clause for state in self.reviewed for clause in state.clauses if clause.wanted]
        unwanted = [clause for state in self.reviewed for clause in state.clauses if not clause.wanted]
        why = [
            f"{why}: {', '.join(ids)}"
            for why, ids in _by_reason((s.clauses[0].why, s.requirement.id) for s in left_out)
        ]
        controls = [{"control-id": _control(state.requirement.id)} for state in self.reviewed]
        every = [{"control-id": _control(state.requirement.id)} for state in self.over.requirements]
        selection = _object(
            description="Requirements of which the run was to judge at least one clause.",
            include_controls=controls,
            remarks=f"Not reviewed, and nothing is said of them here. {'; '.join(why)}." if why else "",
        )
        if not controls:  # OSCAL asks for some
            selection |= {"include-all": {}, "exclude-controls": every}
        objectives = _object(
            include_objectives=[{"objective-id": _objective(c.requirement.id, c.clause.slug)} for c in wanted],
            exclude_objectives=[
                {"objective-id": _objective(c.requirement.id, c.clause.slug), "remarks": c.why} for c in unwanted
            ],
        )
        return _object(control_selections=[selection], control_objective_selections=[objectives] if wanted else [])

    def _resources(self) -> Iterator[Object]:
        """The files that are named: the plan first."""
        links: list[Object] = [{"href": RESULTS}]
        if self.known is not None:
            plan = MANIFEST if self.manifest is not None else BEGINNING
            digest = _sha256(Path(self.record.path) / plan)
            links = [_object(href=plan, media_type="application/json", hashes=_hashes(digest))]
        digest = self.known.catalogue_digest if self.known is not None else ""
        yield _object(
            uuid=self._id("plan"),
            title="Assessment plan: the catalogue of requirements, and what the run meant to judge",
            props=[_prop("catalogue-sha256", digest)] if digest else [],
            rlinks=links,
        )
        files = self.manifest.files if self.manifest is not None else {}
        if RESULTS in files or self.record.results:
            yield _object(
                uuid=self._id("results"),
                title="Every result with its findings, a line a clause",
                rlinks=[_object(href=RESULTS, hashes=_hashes(files.get(RESULTS, "")))],
            )
        for digest in dict.fromkeys(digest for result in self.record.results for digest in result.facts):
            file = _fact_file(digest)
            yield _object(
                uuid=self._id("fact", digest),
                title="What was observed",
                props=[_prop("fact-sha256", digest)],
                rlinks=[_object(href=file, media_type="application/gzip", hashes=_hashes(files.get(file, "")))],
            )

    # --- findings

    def _requirement(self, state: RequirementState) -> None:
        """The findings of a requirement: each clause that was to be judged, then the whole."""
        of_clauses = [self._clause(clause) for clause in state.clauses if clause.wanted]
        self.findings += of_clauses
        related: list[Object] = []
        risks: list[Object] = []
        for finding in of_clauses:
            related += finding.get("related-observations", [])
            risks += finding.get("related-risks", [])
        requirement = state.requirement
        apart = [f"{c.clause.slug} ({_why(c)})" for c in state.clauses if c.verdict is not Verdict.passed]
        self.findings.append(
            _object(
                uuid=self._id("requirement", requirement.id),
                title=f"{requirement.id} {requirement.title}",
                description=requirement.statement,
                props=[
                    _prop("verdict", state.verdict),
                    _prop("severity", requirement.severity),
                    *self._criteria(requirement),
                ],
                target=_target(
                    _objective(requirement.id),
                    state.verdict,
                    f"Not passed: {_said('; '.join(apart))}." if apart else "",
                ),
                related_observations=related,
                related_risks=risks,
            )
        )

    def _criteria(self, requirement: Requirement) -> list[Object]:
        supports = self.framework.of(requirement.id)
        if supports is None:
            return []
        people = f"For people: {supports.people}"
        return [_prop("soc2-criterion", name, far, people) for name, far in supports.criteria.items()]

    def _clause(self, state: ClauseState) -> Object:
        requirement, clause, result = state.requirement, state.clause, state.result
        observed: list[str] = []
        risks: list[str] = []
        if result is not None:
            for waiver, findings in self._groups(result):
                observed.append(self._observe(state, result, findings, waiver))
                if findings and findings[0].ok is False:
                    risks.append(self._risk(state, findings, waiver, observed[-1]))
        limits = dict(result.limits) if result is not None else {}
        if self.known is not None and result is None:
            known = self.known.limits.get(requirement.id, {})
            limits = {name: known[name].text() for name in clause.limits if name in known}
        return _object(
            uuid=self._id("clause", requirement.id, clause.slug),
            title=f"{requirement.id} {clause.slug}",
            description=clause.statement,
            props=[
                _prop("verdict", state.verdict),
                *([_prop("cause", state.cause)] if state.cause is not None else []),
                _prop("kind", clause.kind),
                *([_prop("rule", result.rule)] if result is not None and result.rule else []),
                *([_prop("carried-from", result.carried_from)] if result is not None and result.carried_from else []),
                *(_prop("limit", text, name) for name, text in sorted(limits.items())),
            ],
            origins=[self.origin],
            target=_target(_objective(requirement.id, clause.slug), state.verdict, _remarks(state)),
            related_observations=[{"observation-uuid": one} for one in observed],
            related_risks=[{"risk-uuid": one} for one in risks],
        )

    def _groups(self, result: ClauseResult) -> list[tuple[Waiver | None, list[Finding]]]:
        """The findings of a clause, by how each subject fared and by the waiver that covers it.

        One empty group where something was observed and broke the check; none where nothing was looked at.
        """

        def waiver(finding: Finding) -> Waiver | None:
            if finding.ok is not False:
                return None
            return self.overlay.covered.get(Breach(result.requirement, result.clause, finding.subject))

        def key(finding: Finding) -> tuple[str, str, str]:
            over = waiver(finding)
            return _HELD[finding.ok], over.ticket if over else "", over.subject if over else ""

        found = [list(group) for _, group in groupby(sorted(result.findings, key=key), key=key)]
        return [(waiver(group[0]), group) for group in found] or [(None, [])] * bool(result.facts)

    # --- observations

    def _observe(
        self, state: ClauseState, result: ClauseResult, findings: Sequence[Finding], waiver: Waiver | None
    ) -> str:
        """Add the observation of subjects that fared alike; returns its UUID."""
        held = _HELD[findings[0].ok] if findings else ""
        name = self._id(
            *("observation", result.requirement, result.clause, held),
            *((waiver.ticket, waiver.subject) if waiver else ()),
        )
        words = {
            "pass": "what holds",
            "fail": "what is broken",
            "not-evaluated": "what could not be seen",
            "": "no subject",
        }
        collected, lost = self._collected(result)
        self.observations.append(
            _object(
                uuid=name,
                title=f"{result.requirement} {result.clause}: {words[held]}",
                description=_said(result.message) if not findings and result.message else state.clause.statement,
                props=[_prop("test", result.test), _prop("rule", result.rule or "none")],
                methods=[_METHODS[result.kind]],
                types=["finding" if held == "fail" else "control-objective"],
                origins=[self.origin],
                subjects=[self._subject(finding) for finding in findings],
                relevant_evidence=[
                    {
                        "href": _fact_file(digest),
                        "description": "What was observed, and judged by the rule.",
                        "props": [_prop("fact-sha256", digest)],
                        "links": [{"href": f"#{self._id('fact', digest)}", "rel": "reference"}],
                    }
                    for digest in result.facts
                ],
                collected=_when(collected),
                remarks="When it was collected cannot be read from the facts; the time given is that of the judgement."
                if lost
                else "",
            )
        )
        return name

    def _subject(self, finding: Finding) -> Object:
        name = finding.subject
        if name not in self.subjects:
            # Of the target and not of the run, so that the same subject is known again in the next run.
            whose = self.target or self.record.run
            self.subjects[name] = str(uuid.uuid5(_IDS, f"{whose}\0subject\0{name}"))
        props = [
            _prop("result", _HELD[finding.ok]),
            _prop("observed", finding.observed),
            _prop("expected", finding.expected),
            *([_prop("cause", finding.cause)] if finding.cause is not None else []),
        ]
        return {"subject-uuid": self.subjects[name], "type": "inventory-item", "title": _said(name), "props": props}

    def _collected(self, result: ClauseResult) -> tuple[datetime, bool]:
        """When the oldest fact of a result was seen, and whether that had to be guessed."""
        times = []
        for digest in result.facts:
            if digest not in self.seen:
                self.seen[digest] = self._seen_at(digest)
            times.append(self.seen[digest])
        known = [at for at in times if at is not None]
        return min(known, default=result.ended), None in times

    def _seen_at(self, digest: str) -> datetime | None:
        try:
            raw = gzip.decompress((Path(self.record.path) / _fact_file(digest)).read_bytes())
            return msgspec.json.decode(raw, type=_Fact).fact.seen_at
        except (OSError, EOFError, zlib.error, ValueError, *UNREADABLE):
            return None

    # --- risks

    def _risk(self, state: ClauseState, findings: Sequence[Finding], waiver: Waiver | None, observation: str) -> str:
        requirement, clause = state.requirement, state.clause
        subjects = [_said(finding.subject) for finding in findings]
        return self._add_risk(
            ("risk", requirement.id, clause.slug, *((waiver.ticket, waiver.subject) if waiver else ())),
            title=f"{requirement.id} {clause.slug} does not hold",
            description="Broken: " + "; ".join(subjects) + ".",
            statement=f"{requirement.statement} Broken is: {clause.statement}",
            severity=requirement.severity,
            remedies=dict.fromkeys(
                finding.remedy or self.catalogue.remedy(requirement.id, clause.slug) for finding in findings
            ),
            waiver=waiver,
            observation=observation,
        )

    def _deviations(self) -> None:
        """A limit that the target loosened is a risk, for what it lets pass is a finding nowhere else."""
        for one in self.manifest.deviations if self.manifest is not None else ():
            covering = [
                waiver
                for breach, waiver in self.overlay.covered.items()
                if breach.kind == "deviation"
                and (breach.requirement, breach.subject) == (one.requirement, one.in_force.text())
            ]
            self._add_risk(
                ("deviation", one.requirement, one.in_force.name),
                title=f"{one.requirement}: a limit is looser than the catalogue's",
                description=_said(one.text()) + ".",
                statement="What keeps the loosened limit passes, and would not pass the catalogue's.",
                severity=self.catalogue.requirement(one.requirement).severity,
                remedies=("Set the limit in the target back to the catalogue's, or have the deviation waived.",),
                waiver=next(iter(covering), None),
            )

    def _not_restored(self) -> None:
        for sentence in dict.fromkeys(self.manifest.not_restored if self.manifest is not None else ()):
            self._add_risk(
                ("not-restored", sentence),
                title="The deployment is not as the run found it",
                description=_said(sentence),
                statement="A fault that was injected on purpose still stands, or what it did was not undone.",
                severity="critical",
                remedies=("Run `verify restore` for the target before anything else.",),
            )

    def _add_risk(
        self,
        key: tuple[str, ...],
        *,
        title: str,
        description: str,
        statement: str,
        severity: str,
        remedies: Iterable[str],
        waiver: Waiver | None = None,
        observation: str = "",
    ) -> str:
        name = self._id(*key)
        facets = {"severity": severity}
        log = None
        if waiver is not None:
            accepted = ("ticket", "requested_by", "approver", "issued", "expires", "reason", "risk")
            facets |= {f"waiver-{field.replace('_', '-')}": str(getattr(waiver, field)) for field in accepted}
            entry = {
                "uuid": self._id(*key, "accepted"),
                "title": "The risk was accepted",
                "description": _said(f"{waiver.approver} accepted it for a time, in {waiver.ticket}: {waiver.reason}"),
                "start": _when(_midnight(waiver.issued)),
                "status-change": "deviation-approved",
            }
            log = {"entries": [entry]}
        characterization = {
            "origin": self.origin,
            "facets": [{"name": facet, "system": NAMESPACE, "value": _line(value)} for facet, value in facets.items()],
        }
        self.risks.append(
            _object(
                uuid=name,
                title=title,
                description=description,
                statement=statement,
                status="deviation-approved" if waiver is not None else "open",
                characterizations=[characterization],
                deadline=_when(datetime.combine(waiver.expires, time.max, UTC)) if waiver is not None else None,
                remediations=[
                    {
                        "uuid": self._id(*key, "remedy", remedy),
                        "lifecycle": "recommendation",
                        "title": "How it is mended",
                        "description": remedy,
                    }
                    for remedy in remedies
                ],
                risk_log=log,
                related_observations=[{"observation-uuid": observation}] if observation else [],
            )
        )
        return name


# --- small parts


def _target(objective: str, verdict: Verdict, remarks: str) -> Object:
    """A finding's target with its state: satisfied for what passed, and for nothing else."""
    if verdict is Verdict.passed:
        state, reason = "satisfied", "pass"
    else:
        state, reason = "not-satisfied", "fail" if verdict is Verdict.failed else "other"
    absent = {"state": "not-applicable"} if verdict is Verdict.not_applicable else None
    return _object(
        type="objective-id",
        target_id=objective,
        status=_object(state=state, reason=reason, remarks=remarks),
        implementation_status=absent,
    )


def _why(state: ClauseState) -> str:
    """Why a clause did not pass, in a few words."""
    return _WHY.get(state.verdict, f"not evaluated: {state.why}")


def _remarks(state: ClauseState) -> str:
    if state.verdict is Verdict.passed:
        return ""
    message = state.result.message if state.result is not None else ""
    said = "; ".join(line.strip() for line in message.splitlines())
    return _said(f"{_why(state)}. {said}" if said else f"{_why(state)}.")


def _by_reason(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Names by the reason they share, reasons in the order in which they first come."""
    found: dict[str, list[str]] = {}
    for why, name in pairs:
        found.setdefault(why, []).append(name)
    yield from found.items()


def _fact_file(digest: str) -> str:
    return f"facts/{digest}.json.gz"


def _hashes(sha256: str) -> list[Object]:
    return [{"algorithm": "SHA-256", "value": sha256}] if sha256 else []


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
