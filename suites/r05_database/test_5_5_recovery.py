"""5.5 Point-in-time recovery."""

import pytest

from policies import rules
from policies.facts.database_backups import Backups, Recovery


@pytest.mark.requirement("5.5", "archiving")
def test_wal_is_archived(backups: Backups, judge: rules.Judge) -> None:
    """The server archives, and what it archived lies in the object store without a gap."""
    judge(rules.database_backups.archiving, backups)


@pytest.mark.requirement("5.5", "archive-age")
def test_the_archive_is_young(backups: Backups, judge: rules.Judge) -> None:
    """The newest WAL segment in the archive is young."""
    judge(rules.database_backups.archive_age, backups)


@pytest.mark.requirement("5.5", "archive-failures")
def test_archiving_does_not_fail(backups: Backups, judge: rules.Judge) -> None:
    """No attempt to archive has failed since the last success."""
    judge(rules.database_backups.archive_failures, backups)


@pytest.mark.requirement("5.5", "recovery-to-an-instant")
def test_a_recovery_ends_at_its_instant(recovery: Recovery, judge: rules.Judge) -> None:
    """A recovery to an instant holds every row committed before it and none after it."""
    judge(rules.database_backups.recovery_to_an_instant, recovery)


@pytest.mark.requirement("5.5", "recovery-point")
def test_little_would_be_lost(recovery: Recovery, judge: rules.Judge) -> None:
    """With everything but the archive gone, little time is lost."""
    judge(rules.database_backups.recovery_point, recovery)
