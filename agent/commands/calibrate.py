"""``smaxd calibrate``: what a scratch RocksDB sustains on this device, asked for by a person.

It writes a lot, so it says how much first, asks, keeps to it, yields to every live database on the
device, and leaves nothing behind. Exit 0 measured, 1 failed or ended by its guards, 2 refused,
128 + number on a signal.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType

import click
import msgspec
import psutil

from agent import __version__
from agent.calibration_file import save_result, state_directory
from agent.calibration_guard import StallGuard
from agent.calibration_outcome import RunContext, outcome
from agent.calibration_result import CalibrationResult
from agent.calibration_subject import Subject, read_subject
from agent.calibration_text import announcement, result_lines, size_text
from agent.commands.calibrate_progress import progress_display
from agent.scratch_directory import (
    UnusableDirectory,
    check_directory,
    hold,
    make_scratch_directory,
    remove_leftovers,
    remove_scratch_directory,
)
from agent.scratch_load import (
    LoadFailed,
    LoadSettings,
    ScratchLoad,
    library_options,
    newest_options,
)
from agent.scratch_options import OptionsText, ScratchOptions, differences, parse, scratch_options
from agent.scratch_plan import (
    KeyOrder,
    WriteCap,
    default_cap_bytes,
    must_stay_free_bytes,
    schedule,
    wear_budget_bytes,
    write_cap,
)
from probes.blockdev import BlockDeviceProbe
from probes.cgroup import CgroupLimitsProbe
from probes.clock import Clock, SystemClock
from probes.errors import ProbeError
from probes.rocksdb.discover import discover_databases
from probes.rocksdb.manifest import ManifestProbe
from probes.samples import BlockDeviceSample, CgroupLimitsSample

MEMORY_RATIO = 0.5
"""The scratch database's memtables may take this share of what memory is available."""

# rocksdb/advanced_options.h and options.h, where an OPTIONS file lacks them.
DEFAULT_COMPACTION_FILES = 4
DEFAULT_SLOWDOWN_FILES = 20
DEFAULT_WRITE_BUFFER = 64 * 1048576

LEAST_LEVEL0_FILLS = 4
"""A run must be allowed to write at least so many times what starts a compaction of level 0: it is
written to the WAL, flushed and compacted once (3), and something must be left to measure."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Request:
    """The command's options as given."""

    scratch: str
    database: str | None
    seconds: float
    max_bytes: int | None
    value_bytes: int | None
    wal: bool | None
    key_order: KeyOrder
    other_device: bool
    yes: bool
    as_json: bool


class Refused(Exception):
    """Why nothing is started: one sentence; exit 2."""


class NotConfirmed(Exception):
    """The person asked said no; exit 1."""


@dataclass(frozen=True, slots=True)
class _Place:
    directory: str
    device: BlockDeviceSample
    limit_bytes_per_second: float | None
    cores: float


def calibrate(request: Request, environ: Mapping[str, str]) -> int:
    """Run the command; its exit code."""
    clock = SystemClock()
    try:
        return _calibrate(request, environ, clock)
    except (Refused, UnusableDirectory) as error:
        click.echo(f"smaxd: {error}", err=True)
        return 2
    except ProbeError as error:
        click.echo(f"smaxd: {error.detail} ({error.reason})", err=True)
        return 2
    except (LoadFailed, NotConfirmed) as error:
        click.echo(f"smaxd: {error}", err=True)
        return 1


def _calibrate(request: Request, environ: Mapping[str, str], clock: Clock) -> int:
    found = discover_databases()
    known = [database.path for database in found.databases]
    if request.database is not None:
        known.append(request.database)
    directory = check_directory(request.scratch, known)
    place = _place(directory, clock)
    database, notes = _database(request, known, directory, place.device, clock)
    subject = read_subject(database, request.value_bytes, request.wal, request.key_order, clock)
    if found.unreadable_owners:
        notes.append(
            f"{found.unreadable_owners} lock holder(s) of other users cannot be looked into: "
            "a stall of theirs would not be noticed"
        )
    guard = StallGuard(known, place.device, clock)
    try:
        _refuse_near_distress(guard)
        for path in remove_leftovers(directory):
            click.echo(f"smaxd: removed {path}, left by a run that was killed", err=True)
        cap = _cap(request, place)
        _ask(request, cap, place.device)
        return _run(request, environ, clock, place, subject, guard, cap, notes)
    finally:
        guard.close()


# -- before anything is written


def _place(directory: str, clock: Clock) -> _Place:
    device = BlockDeviceProbe(directory, clock).read()
    limits: CgroupLimitsSample | None = None
    try:
        limits = CgroupLimitsProbe(os.getpid(), clock).read()
    except ProbeError:
        pass  # no control groups here: nothing limits us that could be known
    cores = float(psutil.cpu_count() or 1)
    if limits is None:
        return _Place(directory, device, None, cores)
    numbers = {layer.devnum for layer in device.layers} | {device.device.devnum}
    writes = [rate for number, rate in limits.write_bytes_per_second.items() if number in numbers]
    return _Place(
        directory,
        device,
        min(writes, default=None),
        cores if limits.cpu_cores is None else min(cores, limits.cpu_cores),
    )


def _database(
    request: Request,
    known: list[str],
    directory: str,
    device: BlockDeviceSample,
    clock: Clock,
) -> tuple[str | None, list[str]]:
    """The database to imitate: the given one, else the only one that runs on this file system."""
    file_system = os.stat(directory).st_dev
    if request.database is not None:
        path = os.path.realpath(request.database)
        _refuse_other_device(request, path, directory, device, clock)
        return path, []
    here = [path for path in known if os.path.isdir(path) and os.stat(path).st_dev == file_system]
    if len(here) == 1:
        return here[0], [f"imitating {here[0]}, the only database on this file system"]
    if here:
        return None, [f"{len(here)} databases are on this file system: name one with --db"]
    return None, []


def _refuse_other_device(
    request: Request, path: str, directory: str, device: BlockDeviceSample, clock: Clock
) -> None:
    try:
        same = os.stat(path).st_dev == os.stat(directory).st_dev
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; check the database's path") from error
    if same or request.other_device:
        return
    try:
        theirs = BlockDeviceProbe(path, clock).read()
        where = f"{theirs.device.name} ({theirs.mount_point})"
    except ProbeError as error:
        where = f"unknown ({error.detail})"
    raise Refused(
        f"{directory} is on {device.device.name} ({device.mount_point}), the database {path} on "
        f"{where}; choose a directory on the database's file system, or pass --other-device"
    )


def _refuse_near_distress(guard: StallGuard) -> None:
    for watched in guard.watched:
        if watched.blind is not None:
            raise Refused(
                f"stalls of the running database {watched.path} cannot be seen ({watched.blind}), "
                "so it could be slowed unnoticed; stop it, or use a device without it"
            )
    stalled = guard.stalled(at_once=True)
    if stalled is not None:
        raise Refused(f"{stalled}; calibrate when no database on this device is in distress")


def _cap(request: Request, place: _Place) -> WriteCap:
    wanted = request.max_bytes
    if wanted is None:
        wanted = default_cap_bytes(request.seconds, place.limit_bytes_per_second)
    device = place.device
    cap = write_cap(wanted, device.filesystem_free_bytes, device.filesystem_size_bytes)
    if cap is None:
        raise Refused(
            f"{place.directory} has {size_text(device.filesystem_free_bytes)} free, of which "
            f"{size_text(must_stay_free_bytes(device.filesystem_size_bytes))} must stay free, and "
            f"the run may write {size_text(wanted)}: too little for a measurement"
        )
    return cap


def _ask(request: Request, cap: WriteCap, device: BlockDeviceSample) -> None:
    budget = wear_budget_bytes(device.size_bytes)
    text = announcement(cap.bytes, request.seconds, device.device.name, device.mount_point, budget)
    if cap.lowered_for_space:
        text += "; free space allows no more"
    click.echo(text, err=True)
    if cap.bytes <= budget or request.yes:
        return
    if not sys.stdin.isatty():
        raise Refused(
            f"more than the wear budget of {size_text(budget)} is written only when confirmed: "
            "pass --yes, or less with --max-gib"
        )
    if not click.confirm("write it?", default=False, err=True):
        raise NotConfirmed("not confirmed; nothing was written")


# -- the run


class _Signals:
    """Notes a signal instead of breaking off wherever the program happens to be."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before = {number: signal.signal(number, self._note) for number in ENDING_SIGNALS}

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _run(
    request: Request,
    environ: Mapping[str, str],
    clock: Clock,
    place: _Place,
    subject: Subject,
    guard: StallGuard,
    cap: WriteCap,
    notes: list[str],
) -> int:
    signals = _Signals()
    cleaned = True
    try:
        directory = make_scratch_directory(place.directory)
        held = hold(directory)
        try:
            result, aborted = _measure(
                request,
                clock,
                place,
                subject,
                directory,
                cap,
                notes,
                _ending(signals, guard, place),
            )
        finally:
            cleaned = remove_scratch_directory(directory)
            os.close(held)
    finally:
        signals.restore()
    if not cleaned:
        click.echo(f"smaxd: {directory} could not be removed entirely; remove it", err=True)
    saved = None
    if not aborted and result.puts_per_second is not None:
        saved = _save(result, environ)
    _print(result, saved, as_json=request.as_json)
    if signals.number is not None:
        return 128 + signals.number
    return 1 if aborted or result.puts_per_second is None or not cleaned else 0


def _ending(signals: _Signals, guard: StallGuard, place: _Place) -> Callable[[], str | None]:
    """What must end the run at once, as a function to ask."""
    floor = must_stay_free_bytes(place.device.filesystem_size_bytes)

    def reason() -> str | None:
        if signals.number is not None:
            return signal.Signals(signals.number).name
        stalled = guard.stalled()
        if stalled is not None:
            return stalled
        space = os.statvfs(place.directory)
        if space.f_bavail * space.f_frsize < floor:
            return f"less than {size_text(floor)} is free in {place.directory}"
        return None

    return reason


def _measure(
    request: Request,
    clock: Clock,
    place: _Place,
    subject: Subject,
    directory: str,
    cap: WriteCap,
    notes: list[str],
    ending: Callable[[], str | None],
) -> tuple[CalibrationResult, bool]:
    options = scratch_options(subject.options_text, library_options(directory), subject.family)
    asked = parse(options.text)
    _refuse_large_memtables(asked)
    trigger = _number(asked, "level0_file_num_compaction_trigger", DEFAULT_COMPACTION_FILES)
    _refuse_small_cap(cap, trigger * _number(asked, "write_buffer_size", DEFAULT_WRITE_BUFFER))
    records = subject.records
    settings = LoadSettings(
        directory=directory,
        key_bytes=records.key_bytes,
        value_bytes=records.value_bytes,
        incompressible_ratio=records.incompressible_ratio,
        key_order=records.key_order,
        batch_puts=records.batch_puts,
        wal_enabled=records.wal_enabled,
        compaction_level0_files=trigger,
        slowdown_level0_files=_number(
            asked, "level0_slowdown_writes_trigger", DEFAULT_SLOWDOWN_FILES
        ),
        device_devnum=place.device.device.devnum,
        schedule=schedule(request.seconds, cap.bytes),
    )
    with progress_display() as show:
        load = ScratchLoad(settings, options.text, clock, ending, show)
        measured = load.run()
    effective = _effective(load.database_path, options)
    context = RunContext(
        wall_seconds=clock.wall(),
        smaxd_version=__version__,
        database=subject.path,
        database_bytes=subject.table_bytes,
        scratch_bytes_end=_table_bytes(load.database_path, clock),
        device=place.device,
        device_limit_bytes_per_second=place.limit_bytes_per_second,
        cores=place.cores,
        options=parse(effective),
        options_changed=(*options.changes, *differences(options.text, effective)),
        options_digest=options.digest,
        watched_version=subject.version,
        records=records,
        notes=(*notes, *subject.notes),
    )
    return outcome(context, measured), measured.aborted


def _number(options: OptionsText, name: str, default: int) -> int:
    value = options.value(name) or ""
    return int(value) if value.isdigit() else default


def _refuse_small_cap(cap: WriteCap, level0_bytes: int) -> None:
    least = LEAST_LEVEL0_FILLS * level0_bytes
    if cap.bytes < least:
        raise Refused(
            f"with the database's memtables nothing is compacted before {size_text(level0_bytes)} "
            f"are put, so a measurement must be allowed to write at least {size_text(least)}, not "
            f"{size_text(cap.bytes)}; see --max-gib and --minutes"
        )


def _refuse_large_memtables(options: OptionsText) -> None:
    wanted = _number(options, "write_buffer_size", DEFAULT_WRITE_BUFFER) * _number(
        options, "max_write_buffer_number", 2
    )
    available = psutil.virtual_memory().available
    if wanted > MEMORY_RATIO * available:
        raise Refused(
            f"the database's options allow {size_text(wanted)} of memtables, and "
            f"{size_text(available)} of memory are available: a second set of them could "
            "exhaust it"
        )


def _effective(path: str, options: ScratchOptions) -> str:
    try:
        return newest_options(path)
    except (LoadFailed, OSError):
        return options.text  # ended before it was open


def _table_bytes(path: str, clock: Clock) -> float | None:
    try:
        return float(ManifestProbe(path, clock).read().total_bytes)
    except ProbeError:
        return None


# -- afterwards


def _save(result: CalibrationResult, environ: Mapping[str, str]) -> str | None:
    directory = state_directory(environ)
    try:
        return save_result(directory, result)
    except OSError as error:
        click.echo(
            f"smaxd: the result could not be saved for the daemon: {error.filename or directory}: "
            f"{error.strerror}",
            err=True,
        )
        return None


def _print(result: CalibrationResult, saved: str | None, *, as_json: bool) -> None:
    if as_json:
        document = msgspec.to_builtins(result)
        document["usable"] = result.usable
        document["sustained_capacity_bytes_per_second"] = result.sustained_capacity
        document["saved_to"] = saved
        click.echo(json.dumps(document, indent=2))
        return
    for line in result_lines(result):
        click.echo(line)
    if saved is not None:
        click.echo(f"  {'saved':<10} {saved}")
