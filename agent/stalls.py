"""Write stalls and background errors in force, by the LOG or, without it, by the LSM's shape."""

from collections.abc import Mapping

from agent.readings import Known, Missing
from agent.workload import NO_EVENTS
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import BackgroundError, LogSample, ManifestSample, StallCondition

CLOSED_AFTER_SECONDS = 60.0
"""A database without an owner whose LOG has been silent for so long is closed, not stalled."""


def stall_conditions(
    log: Known[LogSample] | Missing,
    manifest: Known[ManifestSample] | Missing,
    options: Known[OptionsSample] | Missing,
    wall_seconds: float,
    *,
    has_owner: bool,
    owner_gone: bool = False,
) -> Known[tuple[StallCondition, ...]] | Missing:
    """What holds writes back now.

    The LOG's WARN lines say it at once. A LOG that is absent or hides warnings leaves the level-0
    files against the triggers, which is one of the three causes: "not stalled" cannot be told then,
    so an empty answer from the shape is no answer. The last words of a process that died in a
    stall hold back nobody; but an owner in another pid namespace is not seen, so its LOG's silence
    must confirm it.
    """
    if owner_gone:
        return Missing("not_open", "the process that had the database open is gone")
    if not has_owner and isinstance(log, Known):
        last = log.value.last_wall_seconds
        if last is None or wall_seconds - last > CLOSED_AFTER_SECONDS:
            return Missing("not_open", "no process has the database open")
    if isinstance(log, Known) and log.value.has_events:
        return Known(log.value.stalls, log.source, log.at)
    if isinstance(manifest, Known) and isinstance(options, Known):
        by_shape = _level0_conditions(manifest.value, options.value, wall_seconds)
        if by_shape:
            return Known(by_shape, "manifest and options", manifest.at)
    if isinstance(log, Missing):
        return log
    return Missing("log_has_no_events", NO_EVENTS)


def _level0_conditions(
    manifest: ManifestSample, options: OptionsSample, wall_seconds: float
) -> tuple[StallCondition, ...]:
    limits = {family.name: family for family in options.column_families}
    conditions = []
    for family in manifest.column_families:
        limit = limits.get(family.name)
        if limit is None or limit.compaction_style == "fifo" or not family.levels:
            continue
        files = family.levels[0].files
        stop = limit.level0_stop_writes_trigger
        slow = limit.level0_slowdown_writes_trigger
        if stop is not None and 0 < stop <= files:
            state = "stopped"
        elif slow is not None and 0 < slow <= files:
            state = "delayed"
        else:
            continue
        conditions.append(StallCondition(family.name, state, "l0_files", wall_seconds, None))
    return tuple(conditions)


def stall_seconds(log: Known[LogSample] | Missing) -> Known[Mapping[str, float]] | Missing:
    """How long writes were held back, by state.

    Not from a LOG that shows warnings and hides events: it tells of every stall that it begins, and
    of none that it ends.
    """
    if isinstance(log, Missing):
        return log
    if not log.value.has_events and any(log.value.stall_count.values()):
        return Missing("log_has_no_events", NO_EVENTS)
    return Known(log.value.stall_seconds, log.source, log.at)


def background_error(
    log: Known[LogSample] | Missing,
) -> Known[BackgroundError | None] | Missing:
    """The error that stopped writes for good, None when there is none."""
    if isinstance(log, Missing):
        return log
    return Known(log.value.background_error, log.source, log.at)
