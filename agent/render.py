"""What people see in a terminal: pure text out of a status document, at most 80 columns."""

import math
from collections.abc import Iterator

from agent.status_documents import (
    AlertDocument,
    DatabaseDocument,
    DeviceDocument,
    QuantityDocument,
    StatusDocument,
)

Style = tuple[str, str]
"""A piece of text and the name of a rich style, "" for plain."""

WIDTH = 80
MIB = 1048576.0
PHASED_MODELS = frozenset({"v4", "v4.1"})
"""The models to whose number the phase belongs."""

_LABEL = 12
_RESOURCE_WORDS = {
    "device_write": "write bandwidth of the device",
    "device_read_write": "bandwidth of the device, reads and writes",
    "compaction_threads": "compaction threads (max_background_jobs)",
    "flush_threads": "flush threads",
    "cpu": "CPU",
    "writer": "the write path of one writer",
    "wal_sync": "syncs of the WAL",
    "rate_limiter": "RocksDB's own rate limiter",
}


def status_lines(status: StatusDocument) -> Iterator[list[Style]]:
    """The whole status, line by line, none wider than 80 columns."""
    return map(_fit, _lines(status))


def _fit(line: list[Style]) -> list[Style]:
    """Cut at the width; what others wrote (names, errors) may hold control characters."""
    fitted, room = [], WIDTH
    for text, style in line:
        shown = "".join(c if c.isprintable() else "?" for c in text)
        if len(shown) > room:
            shown = _cut(shown, room) if room > 3 else shown[:room]
        fitted.append((shown, style))
        room -= len(shown)
    return fitted


def _lines(status: StatusDocument) -> Iterator[list[Style]]:
    age = status.snapshot_age_seconds
    yield [
        ("smaxd ", "bold"),
        (status.version, ""),
        (f"   tick {status.tick}, {_duration(age)} ago", "dim"),
        ("   STALLED: the agent does not tick" if status.stalled else "", "bold red"),
    ]
    active = [alert for alert in status.alerts if alert.active]
    for alert in active:
        yield _alert_line(alert)
    if not status.databases:
        yield [("no RocksDB database found on this host", "yellow")]
    if status.hidden_databases:
        yield [
            (
                f"{status.hidden_databases} lock holder(s) of other users cannot be looked into: "
                "try",
                "yellow",
            )
        ]
        yield [("  sudo smaxd discover --write-config /etc/smaxd/smaxd.yaml", "yellow")]
    devices = {device.name: device for device in status.devices}
    for database in status.databases:
        yield []
        yield from _database_lines(database)
        yield _line("CPU", (_cpu_text(database, status), ""))
        for name in dict.fromkeys(p.device for p in database.places if p.device):
            if name in devices:
                yield from _device_lines(devices[name])
    failing = [p for p in status.probes if p.success is False and not p.absent]
    if failing:
        yield []
        for probe in failing:
            yield [
                ("probe ", ""),
                (f"{probe.probe} ", "bold"),
                (_cut(f"{probe.detail}", WIDTH - 7 - len(probe.probe)), "red"),
            ]


def _alert_line(alert: AlertDocument) -> list[Style]:
    style = "bold red" if alert.severity == "critical" else "bold yellow"
    marks = [
        "data missing" if alert.data_missing else "",
        "silenced" if alert.silenced_until is not None else "",
        "acknowledged" if alert.acknowledged_until is not None else "",
    ]
    marked = ", ".join(filter(None, marks))
    prefix = f"{alert.severity.upper()} {alert.alert}{f' ({marked})' if marked else ''}: "
    return [(prefix, style), (_cut(alert.summary, WIDTH - len(prefix)), "")]


def _database_lines(database: DatabaseDocument) -> Iterator[list[Style]]:
    version = f"RocksDB {database.rocksdb_version}" if database.rocksdb_version else "RocksDB"
    owner = f"pid {database.owner_pid}" if database.owner_pid else "no owner seen"
    tail = f"  {version}, {owner}"
    yield [(_cut_left(database.name, WIDTH - len(tail)), "bold cyan"), (tail, "dim")]
    observed = database.quantities["observed_puts_per_second"]
    headroom = database.quantities["headroom_ratio"]
    if database.recommended is None:
        why = database.quantities["recommended_puts_per_second"]
        yield _line("S_max", _absence(why))
    else:
        best = database.recommended
        phase = "" if best.model not in PHASED_MODELS else f", {best.phase} phase"
        yield _line(
            "S_max",
            (f"{best.puts_per_second:,.0f} puts/s", "bold"),
            (f"  {best.lower:,.0f} .. {best.upper:,.0f}", ""),
            (f"  {best.model}{phase}, {best.confidence}", "dim"),
        )
        if best.bottleneck is not None:
            yield _line("limit", (_RESOURCE_WORDS.get(best.bottleneck, best.bottleneck), "bold"))
    ahead = database.quantities["time_to_stall_seconds"]
    if ahead.value is not None and ahead.value > 0:
        yield _line("stall", (f"expected in {_duration(ahead.value)}", "bold red"))
    if observed.value is None:
        yield _line("observed", _absence(observed))
    elif headroom.value is None:
        yield _line("observed", (f"{observed.value:,.0f} puts/s", "bold"))
    else:
        style = "green" if headroom.value > 0.2 else "yellow" if headroom.value > 0.05 else "red"
        yield _line(
            "observed",
            (f"{observed.value:,.0f} puts/s", "bold"),
            ("  headroom ", ""),
            (f"{100 * headroom.value:.0f} %", f"bold {style}"),
            (f"  {_bar(headroom.value)}", style),
        )
    if database.predictions:
        answers = [(p.model, p.puts_per_second) for p in database.predictions]
        answers += [(e.model, e.puts_per_second) for e in database.estimates]
        models = "   ".join(f"{model} {rate:,.0f}" for model, rate in answers)
        yield _line("models", (models, ""))
    yield _line("writes", *_stall_text(database))
    yield _line("bandwidth", *_bandwidth_text(database))
    yield _line("records", (_records_text(database), ""))
    yield _line("LSM", (_lsm_text(database), ""))
    placed = [p for p in database.places if p.role != "wal" or p.path != database.path]
    for place in placed:
        if place.device is None:
            yield _line("device", (_cut(f"{place.detail}", WIDTH - _LABEL), "yellow"))


def _stall_text(database: DatabaseDocument) -> list[Style]:
    if database.background_error is not None:
        return [("STOPPED for good: ", "bold red"), (_cut(database.background_error, 45), "red")]
    if database.stalls is None:
        return [("stall state unknown: no flush in the LOG yet, or its level hides it", "yellow")]
    if not database.stalls:
        seconds = sum((database.stall_seconds or {}).values())
        return [("flowing", "green"), (f"  {_duration(seconds)} of stalls in the LOG read", "dim")]
    pieces: list[Style] = []
    for stall in database.stalls[:2]:
        style = "bold red" if stall.state == "stopped" else "bold yellow"
        rate = stall.delayed_write_bytes_per_second
        limit = f" to {rate / MIB:,.1f} MiB/s" if rate else ""
        pieces += [
            (stall.state.upper(), style),
            (f"{limit} by {stall.cause} ({stall.column_family})  ", ""),
        ]
    return pieces


def _bandwidth_text(database: DatabaseDocument) -> list[Style]:
    available = database.quantities["available_bytes_per_second"]
    if available.value is None:
        return [_absence(available)]
    foreign = database.quantities["foreign_bytes_per_second"].value
    compaction = database.quantities["compaction_bytes_per_second"].value
    return [
        (f"{available.value / MIB:,.0f} MiB/s available", ""),
        (
            f"  (foreign {_mib(foreign)}, own compaction {_mib(compaction)} MiB/s)",
            "dim",
        ),
    ]


def _records_text(database: DatabaseDocument) -> str:
    size = database.quantities["record_size_bytes"].value
    amplification = database.quantities["write_amplification_ratio"].value
    written = database.quantities["sequence_number"].value
    pieces = [
        "size unknown" if size is None else f"{size:,.0f} B each",
        "" if amplification is None else f"write amplification {amplification:.1f}",
        "" if written is None else f"{written:,.0f} writes so far",
    ]
    return ", ".join(piece for piece in pieces if piece)


def _lsm_text(database: DatabaseDocument) -> str:
    if database.levels is None:
        return "shape unknown"
    deepest = max((len(levels) for levels in database.levels.values()), default=0)
    files = [0] * deepest
    for levels in database.levels.values():
        for level in levels:
            files[level.level] += level.files
    while len(files) > 1 and files[-1] == 0:
        files.pop()
    size = database.quantities["size_bytes"].value
    pending = database.quantities["pending_compaction_bytes"].value
    pieces = [
        "files by level " + " ".join(map(str, files)),
        "" if size is None else _bytes(size),
        "" if pending is None else f"{_bytes(pending)} pending",
    ]
    return ", ".join(piece for piece in pieces if piece)


def _cpu_text(database: DatabaseDocument, status: StatusDocument) -> str:
    used = database.quantities["cpu_cores"].value
    busy = status.quantities["host_cpu_busy_ratio"].value
    pressure = status.quantities["io_pressure_ratio"].value
    quota = database.cpu_limit_cores
    pieces = [
        "use unknown" if used is None else f"{used:.1f} of {status.host_cpu_cores or '?'} cores",
        "" if quota is None else f"quota {quota:g}",
        "" if busy is None else f"host {100 * busy:.0f} % busy",
        "" if pressure is None else f"I/O pressure {100 * pressure:.0f} %",
    ]
    return ", ".join(piece for piece in pieces if piece)


def _device_lines(device: DeviceDocument) -> Iterator[list[Style]]:
    capacity = device.quantities["capacity_bytes_per_second"]
    if capacity.value is None:
        yield _line(device.name, _absence(capacity))
    else:
        ratio = device.capacity_spread_ratio
        spread = "" if ratio is None else f" +- {100 * ratio:.0f} %"
        bound = "at least " if device.capacity_is_lower_bound else ""
        yield _line(
            device.name,
            (f"{bound}{capacity.value / MIB:,.0f} MiB/s{spread} write capacity", ""),
            (f"  {capacity.source}, {_duration(capacity.age_seconds or 0.0)} ago", "dim"),
        )
    written = device.quantities["write_bytes_per_second"].value
    wait = device.quantities["write_await_seconds"].value
    yield _line(
        "",
        (
            f"now writing {_mib(written)} MiB/s"
            + ("" if wait is None else f", {1000 * wait:.1f} ms a write"),
            "dim",
        ),
    )
    free, probed = _bytes(device.filesystem_free_bytes), _bytes(device.fio_written_bytes)
    yield _line("", (f"{free} free, probes wrote {probed}{_budget_words(device)}", "dim"))
    used, left = (device.quantities[n].value for n in ("endurance_used_ratio", "wear_out_seconds"))
    if used is not None:
        until = "" if left is None else f", worn out in {_duration(left)} at its mean rate"
        yield _line("", (f"{100 * used:.0f} % of the rated endurance used{until}", "dim"))
    if device.probing is not None:
        yield _line("", (_cut(f"fio: {device.probing.detail}", WIDTH - _LABEL), "dim"))


def _budget_words(device: DeviceDocument) -> str:
    left = device.quantities["wear_budget_remaining_bytes"].value
    return "" if left is None else f", {_bytes(left)} left today"


def _line(label: str, *pieces: Style) -> list[Style]:
    return [(f"  {label:<{_LABEL - 3}} ", ""), *pieces]


def _absence(quantity: QuantityDocument) -> Style:
    text = quantity.detail or quantity.reason or "unknown"
    return (_cut(text, WIDTH - _LABEL), "yellow")


def _bar(ratio: float, width: int = 20) -> str:
    used = round(min(1.0, max(0.0, 1.0 - ratio)) * width)  # NaN, too, stays within the frame
    return "[" + "#" * used + "-" * (width - used) + "]"


def _mib(value: float | None) -> str:
    return "?" if value is None else f"{value / MIB:,.0f}"


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024.0 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024.0
    raise AssertionError("unreachable: TiB ends the loop")


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


def _cut_left(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[-(width - 3) :]


def plain(lines: Iterator[list[Style]]) -> str:
    """The lines without any style."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines) + "\n"
