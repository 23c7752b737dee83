"""What of one database keeps fio from its device: an opening, a stall, a LOG not to be read. Pure.

gates = DatabaseGates()
gates.follow(snapshot, findings, now, wall_seconds)  # every tick
"""

from dataclasses import dataclass
from typing import Final

from agent.findings import DatabaseFindings
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot
from probes.rocksdb.samples import LogSample, WalSample

LONGEST_RECOVERY_SECONDS: Final = 3600.0
"""An opening that has shown no end for so long had one that cannot be seen."""

CREATION_SECONDS: Final = 1.0
"""IDENTITY is written in the same moment as the first LOG; file times are a little coarser."""

NOT_OPEN: Final = frozenset({"not_open", "database_missing", "not_rocksdb"})
"""Why the stalls of a database are not known that nobody can have open."""

NEVER_TOLD: Final = frozenset({"no_log", "log_has_no_events"})
"""Some owners write no LOG at all, or none of its lines: waiting for them would be for ever. Files
at level 0 and, while fio runs, the put rate and the pressure still tell of a stall."""


@dataclass(slots=True)
class _Recovery:
    """A process has taken the database: it replays the WAL until it has written new files."""

    since: float
    files: tuple[object, ...]
    wal: WalSample | None


class DatabaseGates:
    """One database's. Times are monotonic; None where nothing of the kind was seen.

    ``opened_at`` is when it was last opened anew, ``stalled_at`` the last moment at which it may
    have been stopped or delayed, ``stalls_unknown`` a sentence why neither can be told now.
    """

    def __init__(self) -> None:
        self.opened_at: float | None = None
        self.stalled_at: float | None = None
        self.stalls_unknown: str | None = None
        self._incarnation = 0
        self._files: tuple[object, ...] | None = None
        self._owner: tuple[int, int | None] | None = None  # the last that had it open
        self._recovery: _Recovery | None = None
        self._stall_seconds: float | None = None
        self._looked_back = False

    @property
    def recovering(self) -> bool:
        """Whether a process has taken it, and was not yet seen to be done with opening it."""
        return self._recovery is not None

    def follow(
        self, database: DatabaseSnapshot, read: DatabaseFindings, now: float, wall_seconds: float
    ) -> None:
        """Take one tick into account: what was read, and what was concluded of it."""
        if database.incarnations != self._incarnation:
            if self._incarnation:  # from 0 on it is only looked at, whenever it was opened
                self.opened_at = now
            self._incarnation = database.incarnations
            self._stall_seconds = None  # its LOG is counted anew
        self._follow_recovery(read, now)
        self._follow_stalls(database, read, now, wall_seconds)

    def _follow_recovery(self, read: DatabaseFindings, now: float) -> None:
        """From a new owner until the MANIFEST or WAL that RocksDB begins once all is replayed."""
        if isinstance(read.fingerprint, Missing):
            return
        found = read.fingerprint.value
        files = (
            found.current_inode,
            found.identity_inode,
            found.manifest_name,
            found.created_wall_seconds,
        )
        wal = read.wal.value if isinstance(read.wal, Known) else None
        if found.owner_pid is None:
            self._recovery = None
        else:
            owner = (found.owner_pid, found.owner_start_ticks)
            if owner != self._owner and self._files is not None:
                self._recovery = _Recovery(now, self._files, None)
            self._owner = owner
        recovery = self._recovery
        if recovery is not None:
            before = recovery.wal = recovery.wal or wal
            begun = files != recovery.files
            goes_on = False
            if wal is not None and before is not None:
                begun = begun or wal.wal_number != before.wal_number
                goes_on = wal.last_sequence != before.last_sequence
            if begun:
                self.opened_at = now
            if begun or goes_on or now - recovery.since >= LONGEST_RECOVERY_SECONDS:
                self._recovery = None
        self._files = files

    def _follow_stalls(
        self, database: DatabaseSnapshot, read: DatabaseFindings, now: float, wall_seconds: float
    ) -> None:
        if isinstance(database.stall_seconds, Known):
            total = sum(database.stall_seconds.value.values())
            if self._stall_seconds is None:
                if isinstance(read.log, Known):
                    self._look_back(read, read.log.value, total, now, wall_seconds)
            elif total > self._stall_seconds:
                self.stalled_at = now
            self._stall_seconds = total
        stalls = database.stalls
        self.stalls_unknown = None
        if isinstance(stalls, Known):
            if stalls.value:
                self.stalled_at = now
        elif stalls.reason not in NOT_OPEN | NEVER_TOLD:
            self.stalls_unknown = (
                f"{stalls.detail}; fio waits until the LOG of {database.name} can be read"
            )

    def _look_back(
        self,
        read: DatabaseFindings,
        log: LogSample,
        stall_seconds: float,
        now: float,
        wall_seconds: float,
    ) -> None:
        """What the LOG tells of the time before it was first read."""
        first, self._looked_back = not self._looked_back, True
        if stall_seconds > 0.0:
            # When they ended is not told: no later than the newest line was written.
            newest = wall_seconds if log.last_wall_seconds is None else log.last_wall_seconds
            self.stalled_at = _later(self.stalled_at, now - max(0.0, wall_seconds - newest))
        opened = log.opened_wall_seconds
        if opened is None:
            return
        created = (
            read.fingerprint.value.created_wall_seconds
            if isinstance(read.fingerprint, Known)
            else None
        )
        if created is not None and created >= opened - CREATION_SECONDS:
            return  # what was opened as it was created had nothing to recover
        opened_at = now - max(0.0, wall_seconds - opened)
        self.opened_at = _later(self.opened_at, opened_at)
        # Its recovery may still go on: until a first put, or another sign that it is over.
        if (
            first
            and self._owner is not None
            and self._files is not None
            and isinstance(read.wal, Known)
            and not log.level_files  # no flush, no compaction since then
            and now - opened_at < LONGEST_RECOVERY_SECONDS
        ):
            self._recovery = _Recovery(opened_at, self._files, read.wal.value)


def _later(known: float | None, at: float) -> float:
    return at if known is None else max(known, at)
