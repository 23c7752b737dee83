"""What must hold before a calibration writes anything; each refusal says what to do instead."""

import os
import sys
from dataclasses import dataclass

import click
import psutil

from agent.calibrate.guard import StallGuard
from agent.calibrate.options import OptionsText
from agent.calibrate.plan import (
    KeyOrder,
    WriteCap,
    default_cap_bytes,
    must_stay_free_bytes,
    wear_budget_bytes,
    write_cap,
)
from agent.calibrate.text import announcement, size_text
from agent.readings import Missing
from probes.blockdev import BlockDeviceProbe
from probes.cgroup import CgroupLimitsProbe
from probes.clock import Clock
from probes.errors import ProbeError
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
    state: str | None
    yes: bool
    as_json: bool


class Refused(Exception):
    """Why nothing is started: one sentence; exit 2."""


class NotConfirmed(Exception):
    """The person asked said no; exit 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """The scratch directory, its device, and what our control group leaves us of it."""

    directory: str
    device: BlockDeviceSample
    limit_bytes_per_second: float | None
    cores: float


def place_of(directory: str, clock: Clock) -> Place:
    """Look at the directory; ProbeError when no block device is behind it."""
    device = BlockDeviceProbe(directory, clock).read()
    limits: CgroupLimitsSample | None = None
    try:
        limits = CgroupLimitsProbe(os.getpid(), clock).read()
    except ProbeError:
        pass  # no control groups here: nothing limits us that could be known
    cores = float(psutil.cpu_count() or 1)
    if limits is None:
        return Place(directory, device, None, cores)
    numbers = {layer.devnum for layer in device.layers} | {device.device.devnum}
    writes = [rate for number, rate in limits.write_bytes_per_second.items() if number in numbers]
    return Place(
        directory,
        device,
        min(writes, default=None),
        cores if limits.cpu_cores is None else min(cores, limits.cpu_cores),
    )


def database_of(
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


def refuse_near_distress(guard: StallGuard) -> None:
    """Refused when a database on the device stalls, or could stall unseen."""
    for watched in guard.watched:
        if watched.blind is not None:
            raise Refused(
                f"stalls of the running database {watched.path} cannot be seen ({watched.blind}), "
                "so it could be slowed unnoticed; stop it, or use a device without it"
            )
    stalled = guard.stalled(at_once=True)
    if stalled is not None:
        raise Refused(f"{stalled}; calibrate when no database on this device is in distress")


def cap_of(request: Request, place: Place) -> WriteCap:
    """The most that the run may write; Refused when that is too little to measure."""
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


def ask(request: Request, cap: WriteCap, device: BlockDeviceSample, free: int | Missing) -> bool:
    """Say what will be written; beyond what is ``free`` of the wear budget only with consent.
    Whether it is within."""
    budget = wear_budget_bytes(device.size_bytes)
    text = announcement(cap.bytes, request.seconds, device.device.name, device.mount_point, budget)
    if cap.lowered_for_space:
        text += "; free space allows no more"
    click.echo(text, err=True)
    within = not isinstance(free, Missing) and cap.bytes <= free
    if within or request.yes:
        return within
    if not sys.stdin.isatty():
        if isinstance(free, Missing):
            raise Refused(
                f"what runs may still write within the wear budget is not known: {free.detail} "
                f"({free.reason}); pass --yes to write all the same"
            )
        raise Refused(
            f"more than the {size_text(free)} that runs may still write within the wear "
            "budget is written only when confirmed: pass --yes, or less with --max-gib"
        )
    if not click.confirm("write it?", default=False, err=True):
        raise NotConfirmed("not confirmed; nothing was written")
    return within


def number_of(options: OptionsText, name: str, default: int) -> int:
    """An option of the scratch database as a number."""
    value = options.value(name) or ""
    return int(value) if value.isdigit() else default


def refuse_small_cap(cap: WriteCap, level0_bytes: int) -> None:
    """Refused when the cap ends the run before its first compactions."""
    least = LEAST_LEVEL0_FILLS * level0_bytes
    if cap.bytes < least:
        raise Refused(
            f"with the database's memtables nothing is compacted before {size_text(level0_bytes)} "
            f"are put, so a measurement must be allowed to write at least {size_text(least)}, not "
            f"{size_text(cap.bytes)}; see --max-gib and --minutes"
        )


def refuse_large_memtables(options: OptionsText) -> None:
    """Refused when a second set of the memtables could exhaust the memory."""
    wanted = number_of(options, "write_buffer_size", DEFAULT_WRITE_BUFFER) * number_of(
        options, "max_write_buffer_number", 2
    )
    available = psutil.virtual_memory().available
    if wanted > MEMORY_RATIO * available:
        raise Refused(
            f"the database's options allow {size_text(wanted)} of memtables, and "
            f"{size_text(available)} of memory are available: a second set of them could "
            "exhaust it"
        )
