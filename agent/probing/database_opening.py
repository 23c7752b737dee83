"""Whether a database is being opened, and when it was opened last. Pure.

RocksDB replays its WALs before it takes a write, at full speed and with table files to write: that
takes seconds, or an hour. Its LOG tells when that begins and ends. Where the LOG does not tell (no
file, a level that hides it, an owner with a logger of its own), a process that takes the lock shows
the beginning, and the MANIFEST or WAL that RocksDB begins once all is replayed, or a sequence
number that moves, the end. Those also end what a LOG tells that has lost its end.
"""

from dataclasses import dataclass
from typing import Final

from agent.findings import DatabaseFindings
from agent.readings import Known
from agent.stalls import CLOSED_AFTER_SECONDS
from probes.rocksdb.samples import FingerprintSample, LogSample, WalSample

LONGEST_RECOVERY_SECONDS: Final = 3600.0
"""An opening that has shown nothing for so long had an end that cannot be seen."""

NO_DATABASE: Final = frozenset({"database_missing", "not_rocksdb"})
"""Why there is no fingerprint where there is nothing that anybody could be opening."""

CREATION_SECONDS: Final = 1.0
"""IDENTITY is written in the same moment as the first LOG; file times are a little coarser."""


@dataclass(frozen=True, slots=True)
class _Files:
    """What tells how far an opening is. The MANIFEST is another one once all is replayed. IDENTITY
    is written once in a database's life, or, where a backup left it out, before the WALs are
    replayed (DBImpl::Recover)."""

    manifest: tuple[int, str]
    identity: tuple[int | None, float | None]


@dataclass(slots=True)
class _Recovery:
    """One that goes on, for all that was told until ``heard_at``. Its end in the LOG is later than
    ``after_wall_seconds``."""

    heard_at: float
    after_wall_seconds: float
    manifest: tuple[int, str]  # that is recovered from
    wal: WalSample | None

    def is_silent(self, now: float) -> bool:
        """Whether its end is not to be waited for any more."""
        return now - self.heard_at >= LONGEST_RECOVERY_SECONDS


class DatabaseOpening:
    """One database's. Times are monotonic but for those of the LOG, which are by the wall clock.

    ``opened_at`` is when it was opened anew last, None where that was not seen.
    """

    def __init__(self) -> None:
        self.opened_at: float | None = None
        self._incarnation = 0
        self._files: _Files | None = None
        self._owner: tuple[int, int | None] | None = None  # the last that had it open
        self._recovery: _Recovery | None = None
        self._over: float | None = None  # the one in the LOG that is known to be over all the same
        self._wall_before = 0.0
        self._log_heard = self._looked_back = False

    @property
    def recovering(self) -> bool:
        """Whether a process has taken it, and was not yet seen to be done with opening it."""
        return self._recovery is not None

    def follow(
        self, incarnations: int, read: DatabaseFindings, now: float, wall_seconds: float
    ) -> None:
        """Take one tick into account: how often it changed its identity, and what was read."""
        if incarnations != self._incarnation:
            if self._incarnation:  # from 0 on it is only looked at, whenever it was opened
                self.opened_at = now
            self._incarnation = incarnations
            self._log_heard = False
        log = read.log.value if isinstance(read.log, Known) else None
        if isinstance(read.fingerprint, Known):
            self._follow_recovery(read.fingerprint.value, read, log, now, wall_seconds)
        elif read.fingerprint.reason in NO_DATABASE:
            # Removed meanwhile: of this recovery no end will be seen, and what comes next with
            # other files, a restored backup, has not finished its own by having them.
            self._recovery = self._files = self._owner = None
        elif self._recovery is not None and self._recovery.is_silent(now):
            self._recovery = None  # that nothing can be read closes a gate with a better reason
        if log is not None and not self._log_heard:
            self._log_heard = True
            self._look_back(read, log, now, wall_seconds)
        self._wall_before = wall_seconds

    def _follow_recovery(
        self,
        found: FingerprintSample,
        read: DatabaseFindings,
        log: LogSample | None,
        now: float,
        wall_seconds: float,
    ) -> None:
        files = _Files(
            (found.current_inode, found.manifest_name),
            (found.identity_inode, found.created_wall_seconds),
        )
        wal = read.wal.value if isinstance(read.wal, Known) else None
        under_way = log is not None and _is_under_way(log, read, found, wall_seconds)
        if found.owner_pid is not None:
            owner = (found.owner_pid, found.owner_start_ticks)
            if owner != self._owner and self._files is not None:
                # Another database in its place, a restored backup, has not finished its recovery
                # by having another MANIFEST.
                same = files.identity == self._files.identity
                manifest = self._files.manifest if same else files.manifest
                self._recovery = _Recovery(now, self._wall_before, manifest, None)
            self._owner = owner
        elif not under_way:
            self._recovery = None
        if log is not None and log.recovery is not None and under_way and self._recovery is None:
            began = log.recovery.began_wall_seconds
            if _by_one_clock(log) != self._over:
                since = now - max(0.0, wall_seconds - began)
                self._recovery = _Recovery(since, began, files.manifest, wal)
        if self._recovery is not None:
            self._end_recovery(self._recovery, files, wal, log, now, wall_seconds)
        self._files = files

    def _end_recovery(
        self,
        recovery: _Recovery,
        files: _Files,
        wal: WalSample | None,
        log: LogSample | None,
        now: float,
        wall_seconds: float,
    ) -> None:
        """It is over when anything says so."""
        before = recovery.wal = recovery.wal or wal
        begun = files.manifest != recovery.manifest
        goes_on = False
        if wal is not None and before is not None:
            begun = begun or wal.wal_number != before.wal_number
            goes_on = wal.last_sequence != before.last_sequence
        ended = None
        if log is not None and log.recovery is not None:
            ended = log.recovery.ended_wall_seconds
            if ended is None and log.last_wall_seconds is not None:
                told_at = now - max(0.0, wall_seconds - log.last_wall_seconds)
                recovery.heard_at = max(recovery.heard_at, told_at)
        if ended is not None and ended >= recovery.after_wall_seconds:
            self.opened_at = now - max(0.0, wall_seconds - ended)
        elif begun:
            self.opened_at = now
        elif not goes_on and not recovery.is_silent(now):
            return
        self._recovery = None
        self._over = None if log is None else _by_one_clock(log)

    def _look_back(
        self, read: DatabaseFindings, log: LogSample, now: float, wall_seconds: float
    ) -> None:
        """What the LOG tells of the time before it was first read."""
        first, self._looked_back = not self._looked_back, True
        opened, recovery = log.opened_wall_seconds, log.recovery
        if opened is None:
            return
        created = (
            read.fingerprint.value.created_wall_seconds
            if isinstance(read.fingerprint, Known)
            else None
        )
        if created is not None and created >= opened - CREATION_SECONDS:
            return  # what was opened as it was created had nothing to recover
        if recovery is not None and recovery.ended_wall_seconds is not None:
            opened = max(opened, recovery.ended_wall_seconds)
        opened_at = now - max(0.0, wall_seconds - opened)
        self.opened_at = opened_at if self.opened_at is None else max(self.opened_at, opened_at)
        # Where the LOG hides the recovery, it may still go on: until a first put, or another sign.
        if (
            first
            and recovery is None
            and self._owner is not None
            and self._files is not None
            and isinstance(read.wal, Known)
            and not log.level_files  # no flush, no compaction since then
            and now - opened_at < LONGEST_RECOVERY_SECONDS
        ):
            self._recovery = _Recovery(opened_at, opened, self._files.manifest, read.wal.value)


def _is_under_way(
    log: LogSample, read: DatabaseFindings, found: FingerprintSample, wall_seconds: float
) -> bool:
    """Whether the LOG tells of a recovery, and its process may be there.

    One that was killed says nothing of an end; and an owner in another pid namespace is not seen.
    """
    if log.recovery is None or log.recovery.ended_wall_seconds is not None:
        return False
    if found.owner_pid is not None:
        return True
    last = log.last_wall_seconds
    silent = last is None or wall_seconds - last > CLOSED_AFTER_SECONDS
    return not read.owner_gone and not silent


def _by_one_clock(log: LogSample) -> float | None:
    """When the recovery in the LOG began, the same however the wall clock was set since."""
    if log.recovery is None:
        return None
    return round(log.recovery.began_wall_seconds - log.clock_shift_seconds, 3)
