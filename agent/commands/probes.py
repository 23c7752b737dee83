"""``smaxd probe``: one measurement, no daemon."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec

from agent.main import private_directory_parent
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.diskstats import DiskstatsProbe, disk_rates
from probes.errors import NoData, ProbeError
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.log import LogProbe, parse_log
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe, as_reached
from probes.rocksdb.samples import ManifestSample
from probes.rocksdb.secondary import SecondaryProbe
from probes.rocksdb.wal import WalProbe

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
