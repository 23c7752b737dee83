"""The probes of one database: which there are, renewed as the database changes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.calibrate.guard import have_layer_in_common
from agent.config import DatabaseSettings
from agent.database_log import DatabaseLog
from agent.database_place import DEVICE_CADENCE_SECONDS, DatabasePlace
from agent.findings import DatabaseFindings, PathFindings
from agent.readings import Known, Missing, printable
from agent.schedule import Slot
from agent.watch_tools import MIB, WatchTools
from probes.cgroup import CgroupLimitsProbe
from probes.fio_guard import GuardedDatabase, own_pressure_path
from probes.process import ProcessProbe
from probes.process_io import ProcessIoAccessProbe
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe, as_reached
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import (
    FingerprintSample,
    LogSample,
    ManifestSample,
    SecondarySample,
    WalSample,
)
from probes.rocksdb.secondary import SecondaryProbe
from probes.rocksdb.wal import WalProbe
from probes.samples import BlockDeviceSample, CgroupLimitsSample, ProcessSample

ACCESS_CADENCE_SECONDS = 60.0
"""What this user may read changes with a restart of somebody, if at all."""

LIMITS_CADENCE_SECONDS = 60.0
"""Control group limits are changed by people and orchestrators, not by load."""

SECONDARY_FIRST_AFTER_SECONDS = 2.0
"""The first secondary waits until the first tick is out."""

GONE = frozenset({"database_missing", "not_rocksdb"})
"""Why there is no fingerprint where there is no database: not where a disk fails or hangs."""

TABLES_ROLE = "db_path"
"""How the role of a directory of table files begins; its number follows."""


@dataclass(frozen=True, slots=True)
class _Incarnation:
    """What a change of which calls for new probes."""

    fingerprint: tuple[object, ...]
    wal_dir: str | None
    db_log_dir: str | None


class DatabaseWatch:
    """One database's probes. A change of its fingerprint replaces all that keep a baseline."""

    def __init__(self, settings: DatabaseSettings, tools: WatchTools) -> None:
        self.path = settings.path
        self.name = settings.name or printable(settings.path)
        self.configured = False
        self.gone_since: float | None = None
        self._answers = True
        self._settings = settings
        self._tools = tools
        self._incarnation: _Incarnation | None = None
        self._had_owner = False
        self._directories: tuple[str | None, str | None] = (None, None)
        self._incarnation_count = 0
        self._fingerprint: Slot[FingerprintSample] = self._slot(
            "fingerprint", FingerprintProbe(self.path, tools.clock)
        )
        self._options: Slot[OptionsSample] = self._slot(
            "options", OptionsProbe(self.path, tools.clock)
        )
        self._places: dict[str, DatabasePlace] = {}
        self._place("data", self.path)
        for path in settings.db_paths:
            self._place_tables(path)
        self._wal: Slot[WalSample] | None = None
        self._manifest: Slot[ManifestSample] | None = None
        self._log: Slot[LogSample] | None = None
        self._log_probe: DatabaseLog | None = None
        self._secondary: Slot[SecondarySample] | None = None
        self._process: Slot[ProcessSample] | None = None
        self._process_io: Slot[bool] | None = None
        self._limits: Slot[CgroupLimitsSample] | None = None

    def _slot(self, probe_name: str, probe: Any, cadence: float | None = None) -> Slot[Any]:  # noqa: ANN401 - every probe has a read() of its own type
        config = self._tools.config
        return Slot(
            probe_name,
            self.name,
            probe.read,
            self._tools.clock,
            cadence_seconds=config.tick_seconds if cadence is None else cadence,
            timeout_seconds=config.probe_timeout_seconds,
            each_tick=cadence is None,
            # What is looked at rarely is looked for often while it is missing.
            retry_seconds=config.tick_seconds,
        )

    def _place(self, role: str, path: str) -> None:
        if role in self._places and self._places[role].path == path:
            return
        name = "blockdev" if role == "data" else f"blockdev {role}"
        self._places[role] = DatabasePlace(
            path,
            self._tools.clock,
            lambda place: self._slot(name, place, DEVICE_CADENCE_SECONDS),
        )

    def _look_for_devices(self) -> None:
        """A database that comes or goes may do so with its file system."""
        for place in self._places.values():
            place.slot.hurry()

    def _place_tables(self, directory: str) -> None:
        """A directory of table files besides the database's own."""
        known = [place.path for role, place in self._places.items() if role != "wal"]
        if os.path.normpath(directory) not in map(os.path.normpath, known):
            self._place(f"{TABLES_ROLE} {len(known)}", directory)

    def configure(self, settings: DatabaseSettings, tools: WatchTools) -> None:
        """Go on with other settings of the same database; every baseline stays."""
        before, self._settings = self._settings, settings
        secondary, self._tools = self._tools.config.secondary, tools
        config = tools.config
        for slot in (*self.first_slots(), *self.second_slots()):
            if slot is not self._secondary:
                slot.configure(
                    cadence_seconds=config.tick_seconds if slot.each_tick else slot.cadence_seconds,
                    timeout_seconds=config.probe_timeout_seconds,
                    retry_seconds=config.tick_seconds,
                )
        if settings.db_paths != before.db_paths:
            self._places = {
                role: place
                for role, place in self._places.items()
                if not role.startswith(TABLES_ROLE)
            }
            for path in settings.db_paths:
                self._place_tables(path)
        if config.secondary != secondary and self._incarnation is not None:
            self._secondary = self._secondary_slot(self._wal_dir(self._incarnation))

    def first_slots(self) -> Iterator[Slot[Any]]:
        """What must answer before the rest can be set up."""
        yield self._fingerprint
        yield self._options
        for place in tuple(self._places.values()):
            yield place.slot

    def second_slots(self) -> Iterator[Slot[Any]]:
        """The probes of the incarnation in force."""
        for slot in (
            self._wal,
            self._manifest,
            self._log,
            self._secondary,
            self._process,
            self._process_io,
            self._limits,
        ):
            if slot is not None:
                yield slot

    def renew(self, now: float) -> None:
        """Set up new probes when the database has become another one, or moved its files."""
        for place in self._places.values():
            place.pace(now, self._tools.config.tick_seconds)
        fingerprint = self._fingerprint.answer(now)
        answers = isinstance(fingerprint, Known)
        if answers != self._answers:
            self._answers = answers
            self._look_for_devices()
        if isinstance(fingerprint, Missing):
            if fingerprint.reason not in GONE:
                self.gone_since = None
            elif self.gone_since is None:
                self.gone_since = now
            return
        self.gone_since = None
        self._had_owner = self._had_owner or fingerprint.value.owner_pid is not None
        options = self._options.answer(now)
        if isinstance(options, Known):
            self._directories = (options.value.wal_dir, options.value.db_log_dir)
        # While OPTIONS cannot be read, the directories are taken to be those it last named.
        incarnation = _Incarnation(fingerprint.value.incarnation, *self._directories)
        log = None if self._log is None else self._log.answer(now)
        if isinstance(log, Known):
            for directory in log.value.table_directories:
                self._place_tables(as_reached(directory, self.path))
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            self._incarnation_count += 1
            self._set_up(incarnation, fingerprint.value.owner_pid)

    def _set_up(self, incarnation: _Incarnation, owner_pid: int | None) -> None:
        tools, wal_dir = self._tools, self._wal_dir(incarnation)
        self._place("wal", wal_dir or self.path)
        self._wal = self._slot("wal", WalProbe(self.path, tools.clock, wal_dir))
        self._manifest = self._slot("manifest", ManifestProbe(self.path, tools.clock))
        self._log_probe = DatabaseLog(
            self.path, tools.clock, incarnation.db_log_dir, kept_open=owner_pid is not None
        )
        self._log = self._slot("log", self._log_probe)
        self._process = self._process_io = self._limits = None
        if owner_pid is not None:
            self._process = self._slot("process", ProcessProbe(owner_pid, tools.clock))
            self._process_io = self._slot(
                "process_io", ProcessIoAccessProbe(owner_pid), ACCESS_CADENCE_SECONDS
            )
            self._limits = self._slot(
                "cgroup", CgroupLimitsProbe(owner_pid, tools.clock), LIMITS_CADENCE_SECONDS
            )
        self._secondary = self._secondary_slot(wal_dir)

    def _wal_dir(self, incarnation: _Incarnation) -> str | None:
        return incarnation.wal_dir and as_reached(incarnation.wal_dir, self.path)

    def _secondary_slot(self, wal_dir: str | None) -> Slot[SecondarySample] | None:
        tools, settings = self._tools, self._tools.config.secondary
        if not settings.enabled:
            return None
        probe = SecondaryProbe(
            self.path,
            tools.clock,
            tools.runner,
            tools.private_parent,
            wal_dir=wal_dir,
            # The sequence number comes exactly from the WAL's tail; replaying the whole log
            # for it would cost seconds of CPU and hundreds of MiB.
            replay_wal=False,
            timeout_seconds=settings.timeout_seconds,
            memory_limit_bytes=int(settings.memory_mib * MIB),
            budget=tools.private_budget,
        )
        return Slot(
            "secondary",
            self.name,
            probe.read,
            tools.clock,
            cadence_seconds=settings.interval_seconds,
            timeout_seconds=settings.timeout_seconds + 5.0,
            sticky=True,
            background=True,
            in_turn=True,
            first_after_seconds=SECONDARY_FIRST_AFTER_SECONDS,
        )

    def pace_secondary(self, now: float, databases: int) -> None:
        """Stretch the secondary's cadence until all of them use the configured share of a core."""
        if self._secondary is None:
            return
        answer = self._secondary.answer(now)
        if isinstance(answer, Known):
            settings = self._tools.config.secondary
            self._secondary.pace(
                max(
                    settings.interval_seconds,
                    databases * answer.value.cpu_seconds / settings.cpu_share_ratio,
                )
            )

    def guarded(self, now: float) -> GuardedDatabase:
        """Where this database shows how it is, for the guard of a run of fio."""
        log = None if self._log is None else self._log.answer(now)
        owner = self.owner_pid(now)
        wal_directory = None if self._incarnation is None else self._wal_dir(self._incarnation)
        return GuardedDatabase(
            log_path=log.value.log_path if isinstance(log, Known) else None,
            wal_directory=wal_directory or self.path,
            pressure_path=None if owner is None else own_pressure_path(owner),
        )

    def owner_pid(self, now: float) -> int | None:
        """The process that has the database open, where it is known."""
        fingerprint = self._fingerprint.answer(now)
        return fingerprint.value.owner_pid if isinstance(fingerprint, Known) else None

    def devices(self, now: float) -> Iterator[BlockDeviceSample]:
        """The devices that carry this database."""
        for place in self._places.values():
            answer = place.slot.answer(now)
            if isinstance(answer, Known):
                yield answer.value

    def directories(self) -> Iterator[str]:
        """Where all that hold files of this database really lie, as far as they are known."""
        for place in self._places.values():
            # A relative one is relative to a working directory that is not ours.
            if os.path.isabs(place.path):
                yield place.real_path
        if self._log_probe is not None and self._log_probe.real_directory is not None:
            yield self._log_probe.real_directory

    def shares_disk(self, device: BlockDeviceSample, now: float) -> bool:
        """Whether a block device is under both ``device`` and this database, in doubt yes."""
        # A copy: the thread of a run of fio asks, while a tick may add a place.
        return any(
            place.may_share(now, lambda sample: have_layer_in_common(sample, device))
            for place in list(self._places.values())
        )

    def findings(self, now: float, *, shares_process: bool) -> DatabaseFindings:
        """What the probes have answered by ``now``."""
        fingerprint = self._fingerprint.answer(now)
        absence = fingerprint if isinstance(fingerprint, Missing) else None

        def answer(slot: Slot[Any] | None, why_none: Missing) -> Any:  # noqa: ANN401 - see _slot
            # A database that is gone has no LSM, whatever its files told a tick ago.
            return absence or (why_none if slot is None else slot.answer(now))

        no_owner = Missing("not_open", f"no process has {printable(self.path)} open")
        not_yet = Missing("not_yet_measured", "the database was not looked at yet")
        disabled = Missing("disabled", "the secondary is switched off in the configuration")
        return DatabaseFindings(
            name=self.name,
            path=printable(self.path),
            pinned_record_size_bytes=self._settings.record_size_bytes,
            incarnation=self._incarnation_count,
            shares_process=shares_process,
            paths=tuple(
                PathFindings(role, printable(place.path), place.slot.answer(now))
                for role, place in self._places.items()
            ),
            fingerprint=fingerprint,
            options=answer(self._options, not_yet),
            limits=answer(self._limits, no_owner),
            process=answer(self._process, no_owner),
            wal=answer(self._wal, not_yet),
            manifest=answer(self._manifest, not_yet),
            log=answer(self._log, not_yet),
            secondary=answer(self._secondary, disabled),
            owner_gone=(
                self._had_owner
                and isinstance(fingerprint, Known)
                and fingerprint.value.owner_pid is None
            ),
        )
