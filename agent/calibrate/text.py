"""A calibration as people read it: pure text."""

from collections.abc import Iterator

from agent.calibrate.plan import GIB, MIB
from agent.calibrate.result import CalibrationResult

_LIMITS = {
    "database": "the database itself: its stalls, delays and waits",
    "writer": "the one writing thread here, not the database: it takes more than this",
    "cpu": "the host's CPU",
    "unknown": "not known",
}
_SHOWN_CHANGES = 12


def size_text(written: float) -> str:
    """Bytes in the unit that suits them."""
    return f"{written / GIB:,.1f} GiB" if written >= GIB else f"{written / MIB:,.0f} MiB"


def announcement(
    cap_bytes: int, seconds: float, device: str, mount_point: str, budget_bytes: int
) -> str:
    """What is about to be written, before it is."""
    share = cap_bytes / budget_bytes
    times = f"{100 * share:.0f} % of" if share <= 1 else f"{share:,.0f} times"
    return (
        f"calibrate writes at most {size_text(cap_bytes)} to {device} ({mount_point}) in "
        f"{seconds / 60:.1f} min: {times} this drive's wear budget of a day "
        f"({size_text(budget_bytes)})"
    )


def result_lines(result: CalibrationResult) -> Iterator[str]:
    """The whole result."""
    if result.ended_by is not None:
        yield f"ended before its time: {result.ended_by}"
    if result.puts_per_second is None or result.saturated is None:
        yield "nothing was measured yet" if result.ended_by else "nothing was measured"
    else:
        yield from _rate_lines(result)
    records = result.records
    wal = "" if records.wal_enabled else ", no WAL"
    yield _line(
        "records",
        f"{records.key_bytes} + {records.value_bytes} B ({records.source}), {records.key_order} "
        f"keys, batches of {records.batch_puts}{wal}",
    )
    watched = f" for {result.database}" if result.database else ""
    version = f", written by {result.watched_version}" if result.watched_version else ""
    origin = "defaults" if result.options_digest is None else f"of the database{version}"
    yield _line("RocksDB", f"{result.library_version} (scratch){watched}, options {origin}")
    yield _line("wear", f"{size_text(result.written_bytes)} written in {result.seconds:.0f} s")
    if result.puts_per_second is not None:
        yield from _option_lines(result)
    for note in result.notes:
        yield _line("note", note)


def _option_lines(result: CalibrationResult) -> Iterator[str]:
    for change in result.options_changed[:_SHOWN_CHANGES]:
        now = "left out" if change.scratch is None else f"-> {change.scratch}"
        yield _line("option", f"{change.name}={change.watched or '(unset)'} {now}: {change.reason}")
    hidden = len(result.options_changed) - _SHOWN_CHANGES
    if hidden > 0:
        yield _line("option", f"and {hidden} more (--json lists all)")


def _rate_lines(result: CalibrationResult) -> Iterator[str]:
    window = result.saturated
    if window is None or result.puts_per_second is None:
        return
    least = "at least " if result.at_least else ""
    spread = "" if window.spread_ratio is None else f" +- {100 * window.spread_ratio:.1f} %"
    yield _line(
        "sustained",
        f"{least}{result.puts_per_second:,.0f} puts/s{spread} ({result.source}, scratch database)",
    )
    yield _line("limit", _LIMITS[result.limit])
    steady = "no trend" if window.steady else "STILL MOVING: measure longer (--minutes)"
    yield _line(
        "saturated",
        f"{window.puts_per_second:,.0f} puts/s over {window.seconds:.0f} s, {steady}; stopped "
        f"{100 * window.stopped_ratio:.0f} %, delayed {100 * window.delayed_ratio:.0f} %; level 0 "
        f"{window.level0_files_mean:.0f} files, "
        f"{size_text(window.pending_compaction_bytes_mean)} pending",
    )
    if result.check is None:
        yield _line("at 95 %", "not checked")
    else:
        yield _line(
            "at 95 %",
            f"{result.check.detail} ({result.check.offered_puts_per_second:,.0f} puts/s offered "
            f"for {result.check.seconds:.0f} s)",
        )
    if result.device is not None:
        use = result.device
        bound = "at least " if use.lower_bound else ""
        yield _line(
            "device",
            f"{bound}{use.write_bytes_per_second / MIB:,.1f} MiB/s written to "
            f"{result.device_name}, {use.foreign_write_bytes_per_second / MIB:,.1f} of it foreign; "
            f"busy {100 * use.busy_ratio:.0f} %, queue {use.mean_queue_depth:.1f}",
        )
    if result.written_bytes_per_put:
        causes = ", ".join(f"{k} {v:,.0f}" for k, v in result.written_bytes_per_put.items())
        yield _line("bytes/put", causes)
    if result.cpu is not None:
        cpu = result.cpu
        parts = [
            f"{name} {value:.2f}"
            for name, value in (
                ("writer", cpu.writer),
                ("compaction", cpu.compaction),
                ("flush", cpu.flush),
            )
            if value is not None
        ]
        busy = "" if cpu.host_busy_ratio is None else f"; host {100 * cpu.host_busy_ratio:.0f} %"
        yield _line("CPU", f"{', '.join(parts)} of {cpu.cores:g} cores{busy}")


def _line(label: str, text: str) -> str:
    return f"  {label:<10} {text}"
