"""The waivers as they lie over one run, for its readers. The verdicts stay what they are; nothing is hidden by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from policies.catalogue import Catalogue
from policies.documents import DocumentError
from policies.profiles import load_profile
from policies.waivers import Waiver, Waivers, load_waivers
from reports.model import RunRecord
from reports.waiving import Breach, Overlay, over_run

EVERYDAY: Final = "nightly"
"""The profile whose terms hold for a run that names none."""


@dataclass(frozen=True)
class Waived:
    """``covered`` are the breaches that a waiver covers. ``problem`` says why the waivers could not be laid over."""

    terms_of: str
    """The profile that says what a waiver may be."""
    waivers: tuple[Waiver, ...] = ()
    """Those that are about this target."""
    overlay: Overlay = field(default_factory=Overlay)
    problem: str = ""

    @property
    def by_waiver(self) -> Mapping[tuple[str, str, str], tuple[Breach, ...]]:
        """What each waiver covers, by its requirement, clause and subject; those that cover nothing are not in it."""
        found: dict[tuple[str, str, str], tuple[Breach, ...]] = {}
        for breach, waiver in self.overlay.covered.items():
            key = waiver.requirement, waiver.clause, waiver.subject
            found[key] = (*found.get(key, ()), breach)
        return found

    def of(self, requirement: str, clause: str) -> Mapping[str, Waiver]:
        """The subjects of a clause that do not hold and are waived, each with its waiver."""
        return {
            breach.subject: waiver
            for breach, waiver in self.overlay.covered.items()
            if (breach.requirement, breach.clause, breach.kind) == (requirement, clause, "finding")
        }


def waived(record: RunRecord, catalogue: Catalogue, waivers: Waivers | None = None) -> Waived:
    """The waivers of ``policies/waivers.yaml`` (or those given) on the day on which the run ended."""
    profile = (record.manifest.profile if record.manifest is not None else "") or EVERYDAY
    try:
        terms = load_profile(profile, catalogue).waivers
        known = (load_waivers(catalogue) if waivers is None else waivers).waivers
    except DocumentError as error:
        return Waived(profile, problem=str(error))
    mine = tuple(waiver for waiver in known if waiver.target in {None, record.target})
    day = (record.ended or datetime.now(UTC)).astimezone(UTC).date()
    return Waived(profile, mine, over_run(record, mine, terms=terms, catalogue=catalogue, today=day))
