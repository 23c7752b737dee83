"""What of one database keeps fio from its device: an opening, a stall, a LOG not to be read. Pure.

gates = DatabaseGates()
gates.follow(snapshot, findings, now, wall_seconds)  # every tick
"""

from typing import Final

from agent.findings import DatabaseFindings
from agent.probing.database_opening import DatabaseOpening
from agent.readings import Known
from agent.snapshot import DatabaseSnapshot
from probes.rocksdb.samples import LogSample

NOT_OPEN: Final = frozenset({"not_open", "database_missing", "not_rocksdb"})
"""Why the stalls of a database are not known that nobody can have open."""

NEVER_TOLD: Final = frozenset({"no_log", "log_has_no_events"})
"""Some owners write no LOG at all, or none of its lines: waiting for them would be for ever. Files
at level 0 and, while fio runs, the put rate and the pressure still tell of a stall."""


class DatabaseGates:
    """One database's. Times are monotonic; None where nothing of the kind was seen.

    ``stalled_at`` is the last moment at which it may have been stopped or delayed,
    ``stalls_unknown`` a sentence why that cannot be told now.
    """

    def __init__(self) -> None:
        self.stalled_at: float | None = None
        self.stalls_unknown: str | None = None
        self._opening = DatabaseOpening()
        self._incarnation = 0
        self._stall_seconds: float | None = None

    @property
    def opened_at(self) -> float | None:
        """When it was last opened anew."""
        return self._opening.opened_at

    @property
    def recovering(self) -> bool:
        """Whether a process has taken it, and was not yet seen to be done with opening it."""
        return self._opening.recovering

    def follow(
        self, database: DatabaseSnapshot, read: DatabaseFindings, now: float, wall_seconds: float
    ) -> None:
        """Take one tick into account: what was read, and what was concluded of it."""
        if database.incarnations != self._incarnation:
            self._incarnation = database.incarnations
            self._stall_seconds = None  # its LOG is counted anew
        self._opening.follow(database.incarnations, read, now, wall_seconds)
        self._follow_stalls(database, read, now, wall_seconds)

    def _follow_stalls(
        self, database: DatabaseSnapshot, read: DatabaseFindings, now: float, wall_seconds: float
    ) -> None:
        if isinstance(database.stall_seconds, Known):
            total = sum(database.stall_seconds.value.values())
            if self._stall_seconds is None:
                if isinstance(read.log, Known) and total > 0.0:
                    # When they ended, before the LOG was first read, is not told.
                    self._may_be_stalled_until(read.log.value, now, wall_seconds)
            elif total > self._stall_seconds:
                self.stalled_at = now
            self._stall_seconds = total
        if isinstance(read.log, Known) and not read.log.value.has_events and read.log.value.stalls:
            # Warnings without events do not tell the end: no earlier than the newest of them.
            self._may_be_stalled_until(read.log.value, now, wall_seconds)
        stalls = database.stalls
        self.stalls_unknown = None
        if isinstance(stalls, Known):
            if stalls.value:
                self.stalled_at = now
        elif stalls.reason not in NOT_OPEN | NEVER_TOLD:
            self.stalls_unknown = (
                f"{stalls.detail}; fio waits until the LOG of {database.name} can be read"
            )

    def _may_be_stalled_until(self, log: LogSample, now: float, wall_seconds: float) -> None:
        """A stall went on until the newest line of the LOG, at most."""
        newest = wall_seconds if log.last_wall_seconds is None else log.last_wall_seconds
        at = now - max(0.0, wall_seconds - newest)
        self.stalled_at = at if self.stalled_at is None else max(self.stalled_at, at)
