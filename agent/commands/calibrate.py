"""``smaxd calibrate``: what a scratch RocksDB sustains on this device, asked for by a person.

It writes a lot, so it says how much first, asks, keeps to it, yields to every live database on the
device, and leaves nothing behind. Exit 0 measured, 1 failed or ended by its guards, 2 refused,
128 + number on a signal.
"""

import json
import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType

import click
import msgspec

from agent import __version__
from agent.calibrate.guard import StallGuard
from agent.calibrate.load import LoadSettings, ScratchLoad
from agent.calibrate.options import ScratchOptions, differences, parse, scratch_options
from agent.calibrate.outcome import RunContext, outcome
from agent.calibrate.plan import (
    WriteCap,
    must_stay_free_bytes,
    schedule,
)
from agent.calibrate.result import CalibrationResult
from agent.calibrate.result_file import save_result
from agent.calibrate.scratch_directory import (
    UnusableDirectory,
    check_directory,
    hold,
    make_scratch_directory,
    remove_leftovers,
    remove_scratch_directory,
)
from agent.calibrate.subject import Subject, read_subject
from agent.calibrate.text import result_lines, size_text
from agent.calibrate.writer_process import LoadFailed, library_options, newest_options
from agent.commands.accounting import (
    account_for_file,
    account_of_run,
    reserve_run,
    settle_run,
)
from agent.commands.calibrate_checks import (
    DEFAULT_COMPACTION_FILES,
    DEFAULT_SLOWDOWN_FILES,
    DEFAULT_WRITE_BUFFER,
    NotConfirmed,
    Place,
    Refused,
    Request,
    ask,
    cap_of,
    database_of,
    number_of,
    place_of,
    refuse_large_memtables,
    refuse_near_distress,
    refuse_small_cap,
)
from agent.commands.calibrate_progress import progress_display
from agent.commands.run_account import RunAccount
from agent.state_directory import StateDirectoryError, choose_state_directory
from probes.clock import Clock, SystemClock
from probes.errors import ProbeError
from probes.rocksdb.discover import discover_databases
from probes.rocksdb.manifest import ManifestProbe

PURPOSE = "calibrate"
"""What a run's bytes are charged as."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    place = place_of(directory, clock)
    database, notes = database_of(request, known, directory, place.device, clock)
    subject = read_subject(database, request.value_bytes, request.wal, request.key_order, clock)
    if found.unreadable_owners:
        notes.append(
            f"{found.unreadable_owners} lock holder(s) of other users cannot be looked into: "
            "a stall of theirs would not be noticed"
        )
    guard = StallGuard(known, place.device, clock)
    try:
        refuse_near_distress(guard)
        for path in remove_leftovers(directory):
            click.echo(f"smaxd: removed {path}, left by a run that was killed", err=True)
        cap = cap_of(request, place)
        account = account_of_run(
            place.device,
            environ,
            state=request.state,
            database_paths=() if subject.path is None else (subject.path,),
        )
        within = ask(request, cap, place.device, account.free_bytes)
        _reserve(account, cap.bytes, beyond=request.yes or not within)
        try:
            return _run(request, environ, clock, place, subject, guard, cap, notes, account)
        finally:
            settle_run(account, 0)  # unless the run has
    finally:
        guard.close()


def _reserve(account: RunAccount, size_bytes: int, *, beyond: bool) -> None:
    """Put the run on record; ``beyond`` the budget it was confirmed."""
    why = reserve_run(account, PURPOSE, size_bytes, overdraw=beyond)
    if why is None:
        return
    if not beyond:
        raise Refused(f"{why}; pass --yes to write all the same")
    click.echo(f"smaxd: {why}", err=True)


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
    place: Place,
    subject: Subject,
    guard: StallGuard,
    cap: WriteCap,
    notes: list[str],
    account: RunAccount,
) -> int:
    signals = _Signals()
    cleaned = True
    try:
        directory = make_scratch_directory(place.directory)
        held = hold(directory)
        try:
            result, aborted = _measure(
                request,
                environ,
                clock,
                place,
                subject,
                directory,
                cap,
                notes,
                account,
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
        saved = _save(result, request, environ)
    _print(result, saved, as_json=request.as_json)
    if signals.number is not None:
        return 128 + signals.number
    return 1 if aborted or result.puts_per_second is None or not cleaned else 0


def _ending(signals: _Signals, guard: StallGuard, place: Place) -> Callable[[], str | None]:
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
    environ: Mapping[str, str],
    clock: Clock,
    place: Place,
    subject: Subject,
    directory: str,
    cap: WriteCap,
    notes: list[str],
    account: RunAccount,
    ending: Callable[[], str | None],
) -> tuple[CalibrationResult, bool]:
    options = scratch_options(subject.options_text, library_options(directory), subject.family)
    asked = parse(options.text)
    refuse_large_memtables(asked)
    trigger = number_of(asked, "level0_file_num_compaction_trigger", DEFAULT_COMPACTION_FILES)
    refuse_small_cap(cap, trigger * number_of(asked, "write_buffer_size", DEFAULT_WRITE_BUFFER))
    records = subject.records
    settings = LoadSettings(
        directory=directory,
        key_bytes=records.key_bytes,
        value_bytes=records.value_bytes,
        incompressible_ratio=records.incompressible_ratio,
        key_order=records.key_order,
        batch_puts=records.batch_puts,
        wal_enabled=records.wal_enabled,
        wal_bytes_per_sync=number_of(asked, "wal_bytes_per_sync", 0),
        compaction_level0_files=trigger,
        slowdown_level0_files=number_of(
            asked, "level0_slowdown_writes_trigger", DEFAULT_SLOWDOWN_FILES
        ),
        device_devnum=place.device.device.devnum,
        schedule=schedule(request.seconds, cap.bytes),
    )
    with progress_display() as show:
        load = ScratchLoad(settings, options.text, clock, ending, show)
        try:
            measured = load.run()
        finally:
            settle_run(account, load.written_bytes)
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
        options_key=subject.options_key,
        watched_version=subject.version,
        records=records,
        notes=(*notes, *subject.notes),
    )
    return outcome(context, measured), measured.aborted


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


def _save(result: CalibrationResult, request: Request, environ: Mapping[str, str]) -> str | None:
    databases = () if result.database is None else (result.database,)
    try:
        directory = choose_state_directory(request.state, environ, databases)
        if directory is None:
            reason = "no state directory can be written to; pass --state DIR"
        else:
            path = save_result(directory, result)
            account_for_file(path, environ, state=directory)
            return path
    except StateDirectoryError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    click.echo(f"smaxd: the result could not be saved for the daemon: {reason}", err=True)
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
