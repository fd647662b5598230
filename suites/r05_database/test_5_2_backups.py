"""5.2 Backups restore."""

import pytest

from policies import rules
from policies.facts.database_backups import BackupPlan, Backups, Recovery


@pytest.mark.requirement("5.2", "schedule")
def test_backups_are_scheduled(backup_plan: BackupPlan, judge: rules.Judge) -> None:
    """A backup of the database is scheduled at least daily, and the schedule is not suspended."""
    judge(rules.database_backups.schedule, backup_plan)


@pytest.mark.requirement("5.2", "newest")
def test_the_newest_backup_is_young(backups: Backups, judge: rules.Judge) -> None:
    """The newest backup that lies whole in the object store is young."""
    judge(rules.database_backups.newest, backups)


@pytest.mark.requirement("5.2", "retention")
def test_backups_are_kept(backups: Backups, judge: rules.Judge) -> None:
    """Backups are kept long enough, and nothing in the bucket ends them earlier."""
    judge(rules.database_backups.retention, backups)


@pytest.mark.requirement("5.2", "restores")
def test_the_newest_backup_restores(recovery: Recovery, judge: rules.Judge) -> None:
    """What is recovered from the object store holds the same as the source held at that position."""
    judge(rules.database_backups.restores, recovery)


@pytest.mark.requirement("5.2", "encrypted")
def test_backups_are_encrypted(backups: Backups, judge: rules.Judge) -> None:
    """Backups and WAL are stored encrypted, by the store's word and by the bytes on its disk."""
    judge(rules.database_backups.encrypted, backups)
