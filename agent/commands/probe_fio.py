"""``smaxd probe fio``: one run of fio, by the decisions by which the daemon starts its own.

It refuses while a gate is closed, is watched by the same guard, and is charged to the same account.
Exit 0 measured, 1 failed or ended by the guard, 2 refused.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click
import msgspec
import psutil

from agent.commands.accounting import reserve_run, settle_run
from agent.commands.live_databases import LiveDatabases
from agent.commands.run_account import RunAccount
from agent.device_watch import FIO_PURPOSE
from agent.probing.host_probing import HANGS_AFTER_SECONDS
from agent.state_directory import StateDirectoryError, choose_state_directory
from agent.wear.own_files import carrier_of
from probes.blockdev import BlockDeviceProbe
from probes.clock import Clock, SystemClock
from probes.command import ProcessGroupRunner
from probes.diskstats import DiskstatsProbe
from probes.errors import NoData, ProbeError
from probes.fio import DEFAULT_LIMITS, FioMode, FioProbe, run_cost_bytes
from probes.fio_guard import FioGuard
from probes.rocksdb.discover import discover_databases
from probes.samples import BlockDeviceSample, FioSample
from probes.scratch import choose_scratch_directory, remove_scratch_directory

MIB = 1048576.0

JOB_NAME = "smaxd"
"""As probes.fio calls its job."""

LOOKS = 2
LOOKS_SECONDS = 1.0
"""Between two looks at the databases: one that is being recovered shows no progress, others do."""


@dataclass(frozen=True, slots=True)
class FioRequest:
    """The command's options as given."""

    path: str
    mode: FioMode
    force: bool
    state: str | None
    as_json: bool


class Refused(Exception):
    """Why fio is not started: one sentence."""


def probe_fio(request: FioRequest, environ: Mapping[str, str]) -> int:
    """Run the command; its exit code."""
    clock = SystemClock()
    try:
        sample = _measure(request, environ, clock)
    except (Refused, StateDirectoryError) as refused:
        click.echo(f"smaxd: {refused}", err=True)
        return 2
    except ProbeError as error:
        click.echo(f"smaxd: {error.detail} ({error.reason})", err=True)
        return 1
    _print(sample, as_json=request.as_json)
    return 0 if sample.aborted is None else 1


def _measure(request: FioRequest, environ: Mapping[str, str], clock: Clock) -> FioSample:
    found = discover_databases()
    if found.unreadable_owners:
        _note(
            f"{found.unreadable_owners} lock holder(s) of other users cannot be looked into: "
            "a stall of theirs would not be noticed"
        )
    # Of a database whose disk does not answer no more than its path is known.
    paths = [database.path for database in (*found.databases, *found.silent)]
    state = choose_state_directory(request.state, environ, paths, make=False)
    databases = LiveDatabases(paths, environ, state, clock)
    carrier = carrier_of(request.path, clock)
    account = None if carrier is None else RunAccount(state, carrier)
    directory = choose_scratch_directory(request.path, request.path, (), paths)
    try:
        device = _ask_the_gates(request, databases, account, clock)
        return _run(request, directory, databases, device, account, clock)
    finally:
        remove_scratch_directory(directory)


def _ask_the_gates(
    request: FioRequest, databases: LiveDatabases, account: RunAccount | None, clock: Clock
) -> BlockDeviceSample | None:
    """The device under the path, None where there is none that can be named; Refused."""
    closed = [*_other_runs()]
    device = None
    try:
        device = BlockDeviceProbe(request.path, clock).read()
    except NoData as absence:  # fio can measure the path all the same
        if databases.paths:
            databases.look()  # the guard has to know where they are
            why = f"what it would disturb cannot be told: {absence.detail}"
            closed.append(f"{why} ({absence.reason})")
    if device is not None and account is not None:
        closed += _closed_gates(databases, device, account, request.mode, clock)
    if closed:
        why = "; ".join(closed)
        if not request.force:
            raise Refused(f"fio is not started: {why}; wait, or pass --force to run it anyway")
        _note(f"fio is started all the same: {why}")
    return device


def _other_runs() -> Iterator[str]:
    """Of a daemon or another command, on any device: they may share what they measure."""
    for process in psutil.process_iter(["cmdline", "create_time"]):
        words, started = process.info["cmdline"] or [""], process.info["create_time"]
        if (
            os.path.basename(words[0]) == "fio"
            and f"--name={JOB_NAME}" in words
            and time.time() - started < HANGS_AFTER_SECONDS
        ):
            yield f"process {process.pid} measures a device already (another_probe)"


def _closed_gates(
    databases: LiveDatabases,
    device: BlockDeviceSample,
    account: RunAccount,
    mode: FioMode,
    clock: Clock,
) -> Iterator[str]:
    """Why the daemon would not run fio now."""
    for look in range(LOOKS if databases.paths else 1):
        if look:
            time.sleep(LOOKS_SECONDS)
        databases.look()
        decision = databases.decide(device, account.budget(clock.monotonic()), mode)
    if decision.closed:
        others = [reason for reason in decision.closed if reason != decision.reason]
        yield f"{decision.detail} ({', '.join([decision.reason, *others])})"


def _run(
    request: FioRequest,
    directory: str,
    databases: LiveDatabases,
    device: BlockDeviceSample | None,
    account: RunAccount | None,
    clock: Clock,
) -> FioSample:
    limits = DEFAULT_LIMITS[request.mode]
    probe = FioProbe(
        directory,
        clock,
        ProcessGroupRunner(),
        request.mode,
        limits,
        device_devnum=None if device is None else device.device.devnum,
        diskstats=DiskstatsProbe(clock).read,
        database_paths=databases.directories(),
        guard=FioGuard(databases.guarded(device), clock),
    )
    if account is not None:
        _reserve(account, run_cost_bytes(limits), force=request.force)
    try:
        return probe.read()
    finally:
        if account is not None:
            settle_run(account, probe.written_bytes_total)


def _reserve(account: RunAccount, size_bytes: int, *, force: bool) -> None:
    why = reserve_run(account, FIO_PURPOSE, size_bytes, overdraw=force)
    if why is None:
        return
    if not force:
        raise Refused(f"fio is not started: {why}")
    _note(why)


def _note(text: str) -> None:
    click.echo(f"smaxd: {text}", err=True)


def _print(sample: FioSample, *, as_json: bool) -> None:
    if as_json:
        # json, not msgspec: it escapes what is no valid UTF-8, such as a path.
        click.echo(json.dumps(msgspec.to_builtins(sample), indent=2))
        return
    least = "at least " if sample.lower_bound else ""
    spread = "" if sample.spread_ratio is None else f", spread {100 * sample.spread_ratio:.0f} %"
    click.echo(
        f"{least}{sample.write_bytes_per_second / MIB:,.1f} MiB/s sequential direct writes{spread}"
    )
    if sample.aborted is not None:
        click.echo(f"ended early: {sample.aborted}")
    if sample.other_write_bytes_per_second is not None:
        others = sample.other_write_bytes_per_second / MIB
        click.echo(f"{others:,.1f} MiB/s written by others meanwhile")
    if sample.latency_p50_seconds is not None and sample.latency_p99_seconds is not None:
        click.echo(
            f"latency p50 {1000 * sample.latency_p50_seconds:.2f} ms, "
            f"p99 {1000 * sample.latency_p99_seconds:.2f} ms per 1 MiB"
        )
    click.echo(
        f"{sample.written_bytes / MIB:,.0f} MiB written in {sample.runtime_seconds:.1f} s "
        f"by fio {sample.fio_version} ({sample.mode})"
    )
