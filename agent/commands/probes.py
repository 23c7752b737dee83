"""``smaxd probe``: one measurement, no daemon."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec

from agent.commands.accounting import account_for
from agent.main import private_directory_parent
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.diskstats import DiskstatsProbe, disk_rates
from probes.errors import NoData, ProbeError
from probes.fio import DEFAULT_LIMITS, FioMode, FioProbe
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.log import LogProbe, parse_log
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe, as_reached
from probes.rocksdb.samples import ManifestSample
from probes.rocksdb.secondary import SecondaryProbe
from probes.rocksdb.wal import WalProbe
from probes.scratch import choose_scratch_directory, remove_scratch_directory

MIB = 1048576.0


def print_disk(path: str, seconds: float, *, as_json: bool) -> int:
    """Which device carries ``path``, and its rates over ``seconds``."""
    clock = SystemClock()
    try:
        sample = BlockDeviceProbe(path, clock).read()
        probe = DiskstatsProbe(clock)
        before = probe.read()
        time.sleep(seconds)
        after = probe.read()
    except ProbeError as error:
        return _failed(error)
    devnum = sample.device.devnum
    rates = None
    if devnum in before.disks and devnum in after.disks:
        rates = disk_rates(before.disks[devnum], after.disks[devnum], after.at - before.at)
    if as_json:
        _print_json({"device": sample, "rates": rates})
        return 0
    chain = " -> ".join(f"{layer.name} ({layer.kind})" for layer in sample.layers)
    click.echo(f"{path}\n  mount      {sample.mount_point} ({sample.filesystem_type})")
    click.echo(f"  devices    {chain}\n  accounted  {sample.device.name} ({devnum})")
    free = sample.filesystem_free_bytes / MIB / 1024
    click.echo(f"  size       {sample.size_bytes / MIB / 1024:,.1f} GiB, {free:,.1f} GiB free")
    if rates is None:
        click.echo("  traffic    unknown: the device's counters are missing or went back")
    else:
        click.echo(
            f"  traffic    {rates.write_bytes_per_second / MIB:,.1f} MiB/s written, "
            f"{rates.read_bytes_per_second / MIB:,.1f} MiB/s read, "
            f"queue {rates.mean_queue_depth:.1f}"
        )
    return 0


def print_fio(path: str, mode: str, *, as_json: bool) -> int:
    """One fio run in a private directory below ``path``."""
    clock, runner = SystemClock(), ProcessGroupRunner()
    kind = FioMode(mode)
    try:
        device = BlockDeviceProbe(path, clock).read()
    except ProbeError:
        device = None  # fio measures the path all the same, only the others' writes are unknown
    try:
        directory = choose_scratch_directory(path, path, (), ())
        probe = FioProbe(
            directory,
            clock,
            runner,
            kind,
            DEFAULT_LIMITS[kind],
            device_devnum=None if device is None else device.device.devnum,
            diskstats=DiskstatsProbe(clock).read,
        )
        try:
            sample = probe.read()
        finally:
            remove_scratch_directory(directory)
            # A run that failed, or was ended, has written, too.
            if device is not None and probe.written_bytes_total:
                account_for(probe.written_bytes_total, "fio", device, os.environ)
    except ProbeError as error:
        return _failed(error)
    if as_json:
        _print_json(sample)
        return 0
    spread = "" if sample.spread_ratio is None else f", spread {100 * sample.spread_ratio:.0f} %"
    click.echo(f"{sample.write_bytes_per_second / MIB:,.1f} MiB/s sequential direct writes{spread}")
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
    return 0


def print_rocksdb(path: str, *, as_json: bool) -> int:
    """Everything that a database's files tell, once; 1 when it is no readable database."""
    path = os.path.abspath(path)
    clock = SystemClock()
    try:
        fingerprint = FingerprintProbe(path, clock).read()
    except ProbeError as error:
        return _failed(error)
    options = _answer(OptionsProbe(path, clock).read)
    wal_dir = getattr(options, "wal_dir", None)
    if wal_dir is not None:
        wal_dir = as_reached(wal_dir, path)
    secondary = SecondaryProbe(
        path,
        clock,
        ProcessGroupRunner(),
        private_directory_parent(os.environ),
        wal_dir=wal_dir,
    )
    answers = {
        "fingerprint": fingerprint,
        "options": options,
        "wal": _answer(WalProbe(path, clock, wal_dir).read),
        "manifest": _answer(lambda: _whole_manifest(ManifestProbe(path, clock))),
        "log": _answer(LogProbe(path, clock, getattr(options, "db_log_dir", None)).read),
        "secondary": _answer(secondary.read),
    }
    document = {name: _without_events(answer) for name, answer in answers.items()}
    if as_json:
        _print_json(document)
        return 0
    for name, answer in document.items():
        if isinstance(answer, dict) and "reason" in answer and "detail" in answer:
            click.echo(f"{name}: {answer['reason']}: {answer['detail']}")
            continue
        click.echo(f"{name}:")
        for key, value in answer.items():
            if key != "at":
                click.echo(f"  {key:<28} {_short(value)}")
    return 0


def print_log(path: str, *, as_json: bool) -> int:
    """The summary of a LOG file; 1 when it cannot be read."""
    try:
        sample = parse_log(path, SystemClock())
    except ProbeError as error:
        return _failed(error)
    written = sample.flush_output_bytes + sample.compaction_output_bytes
    document = {
        "rocksdb_version": sample.rocksdb_version,
        "first_time": sample.first_wall_seconds,
        "last_time": sample.last_wall_seconds,
        "flushes": sample.flushes if sample.has_events else None,
        "compactions": sample.compactions if sample.has_events else None,
        "puts": sample.puts,
        "record_size_bytes": (
            sample.user_bytes / sample.puts - 11.0 if sample.puts and sample.user_bytes else None
        ),
        "write_amplification": written / sample.user_bytes if sample.user_bytes else None,
        "stalls": dict(sample.stall_count),
        "stall_seconds": dict(sample.stall_seconds),
        "flush_output_bytes": sample.flush_output_bytes if sample.has_events else None,
        "compaction_input_bytes": sample.compaction_input_bytes if sample.has_events else None,
        "compaction_output_bytes": sample.compaction_output_bytes if sample.has_events else None,
        "background_error": sample.background_error,
        "damaged_lines": sample.damaged_lines,
    }
    if as_json:
        _print_json(document)
        return 0
    for key, value in document.items():
        click.echo(f"{key:<24} {_short(value)}")
    return 0


def _whole_manifest(probe: ManifestProbe) -> ManifestSample:
    """A long MANIFEST takes several readings; the daemon spreads them over ticks."""
    while True:
        try:
            return probe.read()
        except NoData as error:
            if error.reason != "manifest_catching_up":
                raise


def _answer(read: Callable[[], object]) -> object:
    """A probe's sample, or its reason and detail."""
    try:
        return read()
    except ProbeError as error:
        return {"reason": error.reason, "detail": error.detail}


def _without_events(answer: object) -> Any:  # noqa: ANN401 - builtins of any sample
    """Builtins of a sample; single events are left to ``probe log`` and counted here."""
    document = msgspec.to_builtins(answer)
    for key in ("recent_flushes", "recent_compactions"):
        if isinstance(document, dict) and key in document:
            document[key] = len(document[key])
    return document


def _print_json(value: object) -> None:
    # json, not msgspec: it escapes what is no valid UTF-8, such as a path.
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2))


def _short(value: object) -> str:
    text = "unknown" if value is None else str(value)
    return text if len(text) <= 300 else text[:297] + "..."


def _failed(error: ProbeError) -> int:
    click.echo(f"smaxd: {error.detail} ({error.reason})", err=True)
    return 1
