"""From a run of the scratch database to its ``CalibrationResult``: pure."""

from dataclasses import dataclass

from agent.calibrate.figures import (
    Measured,
    cpu_use,
    device_use,
    limit_of,
    open_loop_check,
    saturated_window,
    sustained_puts_per_second,
    written_bytes_per_put,
)
from agent.calibrate.options import DECISIVE, OptionsText
from agent.calibrate.result import CalibrationResult, CpuUse, Limit, OptionChange, Records
from probes.samples import BlockDeviceSample

LARGER_RATIO = 1.1
"""S_max is defined for an LSM size within 10 %; beyond it the result says that sizes differ."""

FOREIGN_CPU_RATIO = 0.25
"""Other programs' share of the host's cores from which a result says that they ran."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is known of a run besides its readings. ``options`` are those in force."""

    wall_seconds: float
    smaxd_version: str
    database: str | None
    database_bytes: float | None
    scratch_bytes_end: float | None
    device: BlockDeviceSample
    device_limit_bytes_per_second: float | None
    cores: float
    options: OptionsText
    options_changed: tuple[OptionChange, ...]
    options_digest: str | None
    options_key: str | None
    watched_version: str | None
    records: Records
    notes: tuple[str, ...]


def outcome(context: RunContext, measured: Measured) -> CalibrationResult:
    """The result, of an interrupted run as well: what it did not reach is None."""
    before, after = measured.saturated_before, measured.saturated_after
    window = device = check = None
    cpu: CpuUse | None = None
    limit: Limit = "unknown"
    at_least = True
    per_put: dict[str, float] = {}
    if before is not None and after is not None:
        write_buffer = context.options.value("write_buffer_size") or ""
        window = saturated_window(
            before,
            after,
            measured.points,
            float(write_buffer) if write_buffer.isdigit() else 0.0,
        )
        device = device_use(before, after, context.device_limit_bytes_per_second)
        cpu = cpu_use(before, after, context.cores)
        per_put = written_bytes_per_put(before, after, device)
    if window is not None and cpu is not None:
        limit, at_least = limit_of(window, cpu, device)
    if measured.check_before is not None and measured.check_after is not None:
        check = open_loop_check(
            measured.check_before,
            measured.check_after,
            measured.check_rate,
            context.records.batch_puts,
        )
    return CalibrationResult(
        measured_wall_seconds=context.wall_seconds,
        smaxd_version=context.smaxd_version,
        database=context.database,
        database_bytes=context.database_bytes,
        scratch_bytes_end=context.scratch_bytes_end,
        device_name=context.device.device.name,
        device_devnum=context.device.device.devnum,
        device_size_bytes=context.device.size_bytes,
        device_model=context.device.model,
        filesystem_type=context.device.filesystem_type,
        library_version=context.options.version or "unknown",
        watched_version=context.watched_version,
        options_digest=context.options_digest,
        options_key=context.options_key,
        options={
            name: value for name in DECISIVE if (value := context.options.value(name)) is not None
        },
        options_changed=context.options_changed,
        records=context.records,
        puts_per_second=sustained_puts_per_second(window, check),
        at_least=at_least,
        limit=limit,
        saturated=window,
        check=check,
        device=device,
        cpu=cpu,
        written_bytes_per_put=per_put,
        written_bytes=measured.written_bytes,
        seconds=measured.seconds,
        ended_by=measured.ended_by,
        notes=(*context.notes, *_size_notes(context), *_cpu_notes(cpu)),
    )


def _size_notes(context: RunContext) -> tuple[str, ...]:
    ours, theirs = context.scratch_bytes_end, context.database_bytes
    if ours is None or theirs is None or theirs <= LARGER_RATIO * ours:
        return ()
    gib = 1073741824
    return (
        f"the database holds {theirs / gib:.1f} GiB of tables, the scratch one came to "
        f"{ours / gib:.1f} GiB: a larger tree writes more per put, so it sustains less than this",
    )


def _cpu_notes(cpu: CpuUse | None) -> tuple[str, ...]:
    if cpu is None or cpu.host_busy_ratio is None:
        return ()
    own = sum(part or 0.0 for part in (cpu.writer, cpu.compaction, cpu.flush))
    foreign = cpu.host_busy_ratio * cpu.cores - own
    if foreign <= FOREIGN_CPU_RATIO * cpu.cores:
        return ()
    return (
        f"other programs used {foreign:.1f} of {cpu.cores:g} cores meanwhile: on a quieter host "
        "it may sustain more",
    )
