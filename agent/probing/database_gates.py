"""What of one database keeps fio from its device: an opening, a stall, a LOG not to be read. Pure.

gates = DatabaseGates()
gates.follow(snapshot, findings, now, wall_seconds)  # every tick
"""

from typing import Final

from agent.findings import DatabaseFindings, PathFindings
from agent.probing.database_opening import NO_DATABASE, DatabaseOpening
from agent.readings import Known
from agent.snapshot import DatabaseSnapshot
from probes.rocksdb.samples import LogSample
from probes.samples import BlockDeviceSample

NOT_OPEN: Final = NO_DATABASE | {"not_open"}
"""Why the stalls of a database are not known that nobody can have open."""

NEVER_TOLD: Final = frozenset({"no_log", "log_has_no_events"})
"""Some owners write no LOG at all, or none of its lines: waiting for them would be for ever. Files
at level 0 and, while fio runs, the put rate and the pressure still tell of a stall."""

ON_NO_DISK: Final = frozenset(
    {"path_missing", "no_block_device", "several_block_devices", "block_device_gone"}
)
"""Why no device is known under a directory that lies on none of those that fio could measure. Any
other answer, such as a disk that hangs, leaves it where it was seen last."""


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
        self._disks: dict[tuple[str, str], frozenset[str]] = {}  # by role and directory

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
        self._disks = {(path.role, path.path): self._disks_under(path) for path in read.paths}
        self._opening.follow(database.incarnations, read, now, wall_seconds)
        self._follow_stalls(database, read, now, wall_seconds)

    def shares_disk(self, device: BlockDeviceSample) -> bool:
        """Whether a block device is under both: what fio writes to the one, the other waits for."""
        return any(_stack_of(device) & disks for disks in self._disks.values())

    def _disks_under(self, path: PathFindings) -> frozenset[str]:
        if isinstance(path.device, Known):
            return _stack_of(path.device.value)
        if path.device.reason in ON_NO_DISK:
            return frozenset()
        return self._disks.get((path.role, path.path), frozenset())

    def _follow_stalls(
        self, database: DatabaseSnapshot, read: DatabaseFindings, now: float, wall_seconds: float
    ) -> None:
        if isinstance(database.stall_seconds, Known):
            total = sum(database.stall_seconds.value.values())
            if self._stall_seconds is None:
                if isinstance(read.log, Known) and total > 0.0:
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
        """Where its end is not told, a stall went on until the newest line of the LOG, at most."""
        newest = wall_seconds if log.last_wall_seconds is None else log.last_wall_seconds
        ended = None if log.stalls else log.stalled_until_wall_seconds
        at = now - max(0.0, wall_seconds - (newest if ended is None else ended))
        self.stalled_at = at if self.stalled_at is None else max(self.stalled_at, at)


def _stack_of(sample: BlockDeviceSample) -> frozenset[str]:
    return frozenset(layer.devnum for layer in (*sample.layers, sample.device))
