"""The pytest plugin: how a run goes.

Active where ``--target`` is given. It selects by requirement and kind, looks before it starts (preflight), runs the
checks in the order inspect, probe, load, disrupt, turns what rules find into verdicts, proves at the end that the
deployment is as it was found, and leaves evidence and reports.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fixtures.kubernetes import Api, KubeconfigError, operator, take_snapshot
from fixtures.nodes import look_at_nodes
from fixtures.redaction import RedactionError, redact_error, redacted, redaction_key
from fixtures.scratch import leftovers
from fixtures.unobservable import Unobservable
from harness import selection
from harness.commands import RUNS
from harness.dry_run import rehearse
from harness.injection import Injector, NotRestoredError
from harness.interrupts import Interrupts
from harness.journal import Journal
from harness.keeping import authority_of, bucket_of
from harness.lease import Lease
from harness.needs import asked_by
from harness.preflight import disturbed, look
from harness.publishing import begin, conclude, publish
from harness.restoration import RESTORED_WITHIN_S, TIDY_WITHIN_S, Rule, prove_restored
from harness.resume import UNFINISHED, Resumed, ResumeError, resume
from harness.run import NotEvaluatedError, Outcome, Run, ViolatedError
from harness.verdict import BROKE, decide_error, said_by_target, sentences
from policies.catalogue import load_catalogue
from policies.documents import DocumentError
from policies.facts.base import Cause, Fact, Unseen
from policies.facts.kubernetes import Snapshot
from policies.facts.nodes import Nodes
from policies.finding import Finding
from policies.limits import Limits
from reports.allure import allure_labels
from reports.beginning import begun
from reports.model import Verdict
from reports.overview import EXIT_NOT_RESTORED
from reports.signing import KEY_VARIABLE, SigningError, load_signing_key
from reports.store import RunStore, StoreError, unwritten
from reports.timestamp import StampError
from targets.model import Target, load_target

MARKS = {
    Verdict.passed: "ok  ",
    Verdict.failed: "FAIL",
    Verdict.error: "ERR ",
    Verdict.not_evaluated: "??  ",
    Verdict.not_applicable: "n/a ",
    Verdict.manual: "man ",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run; ``verify run`` passes the same ones on."""
    group = parser.getgroup("verify", "verify a live deployment")
    group.addoption("--target", help="the deployment: a name (targets/NAME.yaml) or a file")
    group.addoption("--profile", metavar="NAME", help="the requirements and kinds that this profile looks at")
    group.addoption("--requirement", action="append", default=[], metavar="ID", help="only these, e.g. 1.4,10.1")
    group.addoption("--kind", action="append", default=[], metavar="KIND", help="only inspect, probe, load, disrupt")
    group.addoption("--disrupt", action="store_true", help="allow faults in a target that is production")
    group.addoption("--dry-run", action="store_true", help="inspect, and say what would be broken; break nothing")
    group.addoption(
        "--key",
        default=os.environ.get(KEY_VARIABLE),
        metavar="KEY",
        help="what signs the evidence: a file, env:NAME or hv:NAME (Vault)",
    )
    group.addoption(
        "--resume",
        nargs="?",
        const=UNFINISHED,
        metavar="RUN",
        help="repeat only what an interrupted run has no fresh evidence of (default: the latest of the target)",
    )
    group.addoption("--out", default=str(RUNS), metavar="DIR", help=f"where runs are kept (default: {RUNS})")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the files, choose, open the evidence; all before JUnit and Allure ask where to write."""
    config.addinivalue_line("markers", "requirement(id, clause): the clause of the catalogue that this test judges")
    config.addinivalue_line("markers", "disrupts(system): injects a fault into this system, alone and undone")
    if not config.option.target or config.option.collectonly:
        return
    if config.option.tbstyle in {"auto", "long"}:
        # pytest's own style quotes source and every argument; a whole target and catalogue cost 20 ms a clause.
        config.option.tbstyle = "native"
    # Whatever was typed: arguments and local variables hold tokens, and a traceback goes into JUnit and Allure.
    config.option.showlocals = config.option.fulltrace = False
    try:
        catalogue = load_catalogue()
        target = load_target(config.option.target, check=selection.names_known_to(catalogue))
        choice = selection.choose(catalogue, config.option.requirement, config.option.kind, config.option.profile)
        api = operator(target)  # a wrong kubeconfig or context ends the run before anything was asked of any cluster
        named = config.option.key or target.evidence.key
        key = load_signing_key(named) if named else None
        authority, _ = authority_of(target), bucket_of(target)
        redaction_key()  # one that cannot be used is told now
        known, resumed, out = begin(target, catalogue, config.option.target), Resumed(), Path(config.option.out)
        if config.option.resume:
            if config.option.dry_run:
                raise ResumeError("--dry-run breaks nothing and has nothing to resume; leave out --resume.")
            if choice != selection.Choice():
                raise ResumeError(
                    "--resume does what the earlier run had chosen; leave out --profile, --requirement and --kind."
                )
            resumed = resume(out, config.option.resume, known, catalogue, key)
            choice = resumed.choice
        store = RunStore.create(out)
    except (
        DocumentError,
        selection.SelectionError,
        KubeconfigError,
        ResumeError,
        SigningError,
        StampError,
        RedactionError,
        StoreError,
    ) as error:
        raise pytest.UsageError(redacted(str(error))) from error
    config.option.xmlpath = config.option.xmlpath or str(store.path / "junit.xml")
    config.option.allure_report_dir = config.option.allure_report_dir or str(store.path / "allure-results")
    restore = restore_command(config.option.target, config.option.out)
    run = Run(target, api, catalogue, store, choice, _speaker(config), restore, known, key, authority, resumed)
    run.dry = config.option.dry_run
    config.pluginmanager.register(RunPlugin(config, run), "verify-run")


def restore_command(target: str, out: str) -> str:
    """What to type where a run left something broken, with the options that it was given."""
    return shlex.join(["verify", "restore", "--target", target, *([] if Path(out) == RUNS else ["--out", out])])


def _speaker(config: pytest.Config) -> Callable[[str], None]:
    started = time.monotonic()

    def say(line: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        capture = config.pluginmanager.get_plugin("capturemanager")
        if reporter is None:
            return
        shown = capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext()
        # A terminal that was closed is no reason to leave anything broken.
        with contextlib.suppress(OSError), shown:
            reporter.ensure_newline()
            reporter.write_line(f"{time.monotonic() - started:7.1f} s  {line}")

    return say


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The suites without a deployment are a mistake, not a pass."""
    if not config.option.target and any(item.get_closest_marker("requirement") for item in items):
        raise pytest.UsageError("the suites verify a deployment: say which with --target, e.g. --target lab")


class RunPlugin:
    """The hooks and fixtures of one run."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.outcomes: dict[str, Outcome] = {}
        self.now: Outcome | None = None
        self.phase = ""
        self.interrupts = Interrupts()
        self.until_the_end = contextlib.ExitStack()
        self.unwritten: StoreError | None = None
        """Why the evidence cannot be kept any more."""
        self.rehearsed: dict[str, Unseen | None] = {}
        self.disturbed: dict[int, Unseen | None] = {}
        """By id() of an observation of the whole deployment: who was breaking things when it had been made."""

    # --- selection, order, preflight

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Take what was chosen, in the order of a run."""
        # Before -k and -m drop any: what they drop was left out of the run, which is not "no check yet".
        self.run.checks = tuple(sorted(selection.names(item) for item in items))
        yield
        kept, left_out = selection.arrange(items, self.run.catalogue, self.run.choice)
        if self.run.dry:
            acting = [item for item in kept if selection.kind(item, self.run.catalogue) in {"probe", "load"}]
            kept, left_out = [item for item in kept if item not in acting], [*left_out, *acting]
        resumed = self.run.resumed
        if resumed.origins:
            left_out += [item for item in kept if selection.names(item) not in resumed.planned]
            kept = [item for item in kept if selection.names(item) in resumed.planned - resumed.carried]
        items[:] = kept
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        if not kept and not resumed.results and not self.run.unreached():
            self.run.say(
                "nothing to run: no check reaches what was chosen yet (`verify explain` lists what is checked)"
            )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Look before anything starts. Returns None, so that pytest's own loop follows."""
        run = self.run
        run.planned = (*sorted(run.resumed.carried), *(selection.names(item) for item in session.items))
        if session.testsfailed:
            return
        if not run.planned:
            run.take_the_targets_word()
            return
        try:
            self._begin(session)
        except StoreError as error:
            self._stop_writing(error)

    def _begin(self, session: pytest.Session) -> None:
        """Write down what is meant, and look. Raises StoreError."""
        run = self.run
        if run.dry:
            run.say("dry run: reads only; nothing is probed or broken, and nothing of it counts at the gate")
        self.until_the_end.enter_context(self.interrupts.heard())
        self.until_the_end.enter_context(begun(run.store.path, run.beginning()))
        run.carry_over()  # before anything can end this run, which is then the one to take up
        checks = [asked_by(item, run.catalogue) for item in session.items]
        run.preflight = look(run.target, run.operator, checks, restore=run.restore, say=run.say)
        if run.preflight.still_broken:
            run.not_restored.append(run.preflight.still_broken)
            pytest.exit(run.preflight.still_broken, EXIT_NOT_RESTORED)
        run.take_the_targets_word()

    # --- one clause

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """A run whose evidence cannot be kept (a full disk) proves nothing, and ends after having undone all."""
        try:
            done = yield
        except Exception as error:  # noqa: BLE001  (raised again where it is another one)
            self._stop_writing(error)
        if self.unwritten:
            self._stop_writing(self.unwritten)
        return done

    def _stop_writing(self, error: Exception) -> NoReturn:
        """End the run where an error says that its files cannot be written. Raises any other error again."""
        self.unwritten = self._unwritten(error)
        pytest.exit(str(self.unwritten), pytest.ExitCode.USAGE_ERROR)

    def _unwritten(self, error: Exception) -> StoreError:
        """What cannot be written, whether the harness, JUnit or Allure tried to. Raises any other error again."""
        cause: BaseException | None = error
        while cause is not None:  # pluggy tells what Allure's hooks raise as a warning
            if isinstance(cause, StoreError):
                return cause
            if isinstance(cause, OSError):
                return unwritten(Path(cause.filename or self.run.store.path), cause)
            cause = cause.__cause__ or cause.__context__
        raise error

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Open the clause's outcome; what does not apply here is not run."""
        requirement, clause = selection.names(item)
        kind = self.run.catalogue.clause(requirement, clause).kind
        self.now = self.outcomes[item.nodeid] = Outcome(requirement, clause, kind, item.nodeid, datetime.now(UTC))
        if kind != self.phase:
            self.phase = kind
            self.run.say(kind)
        allure_labels(self.run.catalogue, requirement, clause)
        said = said_by_target(self.run.target, requirement, clause)
        if said is not None:
            self.now.decision, self.now.message = said
            pytest.skip(self.now.message)
        if self.run.dry and kind == "disrupt":
            self._rehearse(item, requirement, clause)

    def _rehearse(self, item: pytest.Item, requirement: str, clause: str) -> None:
        """Say what the clause's fault would do, once a fault. Raises Unobservable where it would not be injected."""
        run = self.run
        mark = item.get_closest_marker("disrupts")
        if mark is None:
            raise pytest.UsageError(f"{item.nodeid}: say what it disrupts: @pytest.mark.disrupts(SYSTEM)")
        system = str(mark.args[0])
        if system not in self.rehearsed:
            why_not = self._may_disrupt()
            if why_not is not None:
                run.say(f"dry run: {system} would not be touched: {Unobservable(why_not)}")
            self.rehearsed[system] = why_not or rehearse(
                system,
                run.target,
                self.disruptor(),
                restore=run.restore,
                say=lambda line: run.say(f"dry run: {line}"),
                progress=run.say,
            )
        why_not = self.rehearsed[system]
        if why_not is not None:
            raise Unobservable(why_not)
        run.planned = tuple(name for name in run.planned if name != (requirement, clause))
        run.say(f"  dry  {requirement} {clause}: could go ahead")
        pytest.skip("dry run: could go ahead")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
        """Turn what happened into a verdict, and the verdict into pytest's own words."""
        if call.excinfo is not None:
            redact_error(call.excinfo.value)
        hook = yield
        report: pytest.TestReport = hook.get_result()
        outcome = self.outcomes[item.nodeid]
        error = None if call.excinfo is None else call.excinfo.value
        name = f"{outcome.requirement} {outcome.clause}"
        if isinstance(error, KeyboardInterrupt):
            return
        if isinstance(error, StoreError):
            self.unwritten = error
        if isinstance(error, Unobservable):
            unseen = error.unseen
            finding = Finding.unseen(unseen.what, "to be seen", unseen)
            remedy = self.run.catalogue.remedy(outcome.requirement, outcome.clause)
            outcome.decision = decide_error(error)
            # Nothing was judged that could be judged again, whatever was judged before.
            outcome.rule, outcome.facts, outcome.findings = "", (), (finding,)
            outcome.message = sentences(outcome.requirement, outcome.clause, outcome.findings, remedy)
        elif isinstance(error, NotRestoredError):
            outcome.decision = BROKE
            outcome.message = f"{name} · not restored: {error}"
        elif report.failed and not isinstance(error, ViolatedError | NotEvaluatedError):
            outcome.decision = BROKE
            outcome.message = f"{name} · the check itself failed: {type(error).__name__}: {error}"
        elif report.when == "call" and outcome.decision is None:
            outcome.decision = BROKE
            outcome.message = f"{name} · the test ended without judging anything; it must call judge"
            report.outcome = "failed"
        if isinstance(error, Unobservable | NotEvaluatedError):
            report.outcome = "skipped"
            report.longrepr = (item.location[0], (item.location[1] or 0) + 1, f"not evaluated: {outcome.message}")
        elif report.failed and not (outcome.decision and outcome.decision.verdict is Verdict.error and error):
            report.longrepr = outcome.message  # a traceback into our own judge tells an operator nothing
        report.user_properties += [("requirement", outcome.requirement), ("clause", outcome.clause)]
        if outcome.decision is not None:
            report.user_properties.append(("verdict", outcome.decision.verdict.value))

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: Any) -> None:
        """What pytest says of an error outside any check, without the secrets in it; JUnit keeps it as well."""
        for entry in excrepr.reprtraceback.reprentries:
            entry.lines = [redacted("".join(entry.lines))]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Write the clause down, and say it."""
        outcome = self.outcomes.get(nodeid)
        if outcome is None or outcome.decision is None:
            return
        self.run.finish(outcome)
        took = (datetime.now(UTC) - outcome.started).total_seconds()
        name = f"{outcome.requirement} {outcome.clause}"
        self.run.say(f"  {MARKS[outcome.decision.verdict]} {name:32} {took:6.1f} s")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count by verdict; the line of a clause is said in ``pytest_runtest_logfinish``."""
        verdict = dict(report.user_properties).get("verdict")
        if report.when == "teardown" or verdict is None:
            return None if report.failed else ("", "", "")
        if report.when == "setup" and report.passed:
            return "", "", ""
        return str(verdict).replace("_", " "), "", ""

    # --- the end

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
        """Prove that the deployment is as it was found; when JUnit and Allure have written, close the evidence."""
        run = self.run
        injector = run.injector
        if injector is not None:
            run.not_restored += injector.not_restored
        acted = run.preflight is not None and run.preflight.disruptor is not None and run.preflight.blind is None
        if acted and not run.not_restored:
            self._prove_restoration(injected=injector is not None and injector.injected > 0)
        if injector is not None:
            injector.lease.release()
        summary = conclude(run, int(exitstatus))
        session.exitstatus = summary.exit_code
        done = None
        try:
            done = yield
            session.exitstatus = publish(run, summary)
        except Exception as error:  # noqa: BLE001  (raised again where it is another one)
            sentence = str(self._unwritten(error))
            if self.unwritten is None:
                run.say(sentence)
            if not run.not_restored:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
        return done

    def _prove_restoration(self, *, injected: bool) -> None:
        """After a fault inspect again; after probes only look for what they made."""
        run = self.run
        steady = run.steady if injected else []
        if injected:
            run.say(f"proof of restoration: inspecting again, {len(steady)} clauses")
        try:
            within_s = RESTORED_WITHIN_S if injected else TIDY_WITHIN_S
            wrong = prove_restored(steady, self._look_again, self._leftovers, within_s, run.say)
            run.not_restored += [f"{sentence}; run `{run.restore}`" for sentence in wrong]
        except KeyboardInterrupt:
            sentence = f"whether all is as it was found is not known, its proof was interrupted; run `{run.restore}`"
            run.not_restored.append(sentence)
        if injected and not run.not_restored:
            run.say("proof of restoration: all of them hold again, nothing is left over")

    def _look_again(self) -> dict[type[Fact], Fact]:
        snapshot = take_snapshot(self.scanner())
        fresh: dict[type[Fact], Fact] = {Snapshot: snapshot}
        if any(isinstance(fact, Nodes) for check in self.run.steady for fact in check.facts):
            fresh[Nodes] = look_at_nodes(self.run.target, snapshot)
        return fresh

    def _leftovers(self) -> tuple[str, ...]:
        return leftovers(self.disruptor(), self.run.store.run_id)

    def pytest_unconfigure(self) -> None:
        """From here on the run is not at work any more."""
        self.until_the_end.close()

    def seen_alone(self, facts: Iterable[Fact]) -> None:
        """Refuse what was seen while another run broke things: it began between preflight and the look.

        Raises Unobservable(UNSAFE). What our own faults show is a fact of its own kind and not asked for here.
        """
        for fact in facts:
            if isinstance(fact, Snapshot | Nodes) and id(fact) not in self.disturbed:
                namespace = self.run.target.identities.namespace
                self.disturbed[id(fact)] = disturbed(self.scanner(), namespace, self.run.store.run_id)
            if (unseen := self.disturbed.get(id(fact))) is not None:
                raise Unobservable(unseen)

    # --- the two identities, and what breaks things

    def scanner(self) -> Api:
        """The API as the identity that only reads. Raises Unobservable where preflight got no token."""
        preflight = self.run.preflight
        if preflight is not None and preflight.blind is not None:
            raise Unobservable(preflight.blind)
        if preflight is None or preflight.scanner is None:
            raise Unobservable(Unseen(Cause.UNREACHABLE, "the API", "preflight did not take place"))
        return preflight.scanner

    def disruptor(self) -> Api:
        """The API as the identity that probes and disrupts. Raises Unobservable where preflight got no token."""
        self.scanner()
        preflight = self.run.preflight
        if preflight is None or preflight.disruptor is None:
            raise Unobservable(Unseen(Cause.FORBIDDEN, "the disruptor", "no token was asked for in this run"))
        return preflight.disruptor

    def injector(self) -> Injector:
        """What injects the faults of this run; made when the first one is wanted."""
        run = self.run
        if run.injector is None:
            namespace = run.target.identities.namespace
            run.injector = Injector(
                run=run.store.run_id,
                target=run.target,
                api=self.disruptor(),
                journal=Journal(self.disruptor(), namespace),
                lease=Lease(self.disruptor(), namespace, run.store.run_id, run.say),
                record=run.store.journal,
                progress=run.say,
                restore=run.restore,
                may_disrupt=self._may_disrupt,
                interrupts=self.interrupts,
            )
        return run.injector

    def _may_disrupt(self) -> Unseen | None:
        requirement = self.now.requirement if self.now is not None else ""
        return self.run.unsafe(requirement, self.config.option.disrupt)


def _plugin(request: pytest.FixtureRequest) -> RunPlugin:
    plugin = request.config.pluginmanager.get_plugin("verify-run")
    if not isinstance(plugin, RunPlugin):
        raise pytest.UsageError("this fixture belongs to a run: say which deployment with --target, e.g. --target lab")
    return plugin


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The deployment under verification."""
    return _plugin(request).run.target


@pytest.fixture(scope="session")
def run_id(request: pytest.FixtureRequest) -> str:
    """The run's id: sortable, unique, fit for a Kubernetes label."""
    return _plugin(request).run.store.run_id


@pytest.fixture(scope="session")
def progress(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say one line while something is waited for."""
    return _plugin(request).run.say


@pytest.fixture(scope="session")
def limits_of(request: pytest.FixtureRequest) -> Callable[[str, str], Limits]:
    """``limits_of("1.1", "write-gap")["api_write_gap"].value``: limits in force, for how long to look."""
    return _plugin(request).run.limits


@pytest.fixture(scope="session")
def scanner(request: pytest.FixtureRequest) -> Api:
    """The API as the identity that only reads. Raises Unobservable where preflight got no token."""
    return _plugin(request).scanner()


@pytest.fixture(scope="session")
def disruptor(request: pytest.FixtureRequest) -> Api:
    """The API as the identity that probes and disrupts. Raises Unobservable where preflight got no token."""
    return _plugin(request).disruptor()


@pytest.fixture(scope="session")
def inject(request: pytest.FixtureRequest) -> Injector:
    """``with inject(name, parameters) as fault:`` injects a registered fault and undoes it on every way out."""
    return _plugin(request).injector()


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``judge(rule, *facts)``: record the facts, run the rule, and pass, fail or stay without a verdict."""
    plugin = _plugin(request)
    outcome = plugin.outcomes[request.node.nodeid]

    def judge(rule: Rule, *facts: Fact) -> None:
        plugin.seen_alone(facts)
        plugin.run.judge(outcome, rule, facts)

    return judge
