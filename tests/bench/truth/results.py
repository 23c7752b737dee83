"""What a run leaves behind: one directory with ``run.json`` and the files it speaks of."""

from pathlib import Path
from typing import Any

import msgspec

RUN_FILE = "run.json"
UNDER_WAY_FILE = "under-way"
"""Holds the process's number while a run's directory is not complete."""


class HoldingRecord(msgspec.Struct, frozen=True):
    """One open loop at a share of the closed-loop rate; rates in puts/s, latencies in seconds."""

    ratio: float
    offered: float
    accepted: float
    stopped_ratio: float
    delayed_ratio: float
    stall_seconds: float
    p50_seconds: float | None
    p99_seconds: float | None
    p999_seconds: float | None
    max_seconds: float | None
    holds: bool


class SaturationRecord(msgspec.Struct, frozen=True):
    """The second half of the saturation; ratios are shares, of capacity or of the time."""

    seconds: float  # the whole saturation
    level0_drift_files: float
    pending_drift_bytes: float
    steady: bool
    level0_files: float
    pending_bytes: float
    device_ratio: float
    device_bytes_per_second: float  # written by the group, foreign included
    foreign_bytes_per_second: float
    bytes_per_put: float | None  # device bytes less foreign
    cpu_ratio: float | None  # the group's, of all cores
    host_cpu_ratio: float  # everyone's
    compaction_slots_ratio: float
    flush_slots_ratio: float
    rate_limiter_ratio: float
    stalled_ratio: float
    busiest_writer_ratio: float
    other_disk_bytes_per_second: float | None = None  # others' writes to the fast disk behind


class TruthRecord(msgspec.Struct, frozen=True):
    """What the database sustains: puts/s."""

    puts_per_second: float
    closed_loop_puts_per_second: float
    tried: list[HoldingRecord]
    held: bool
    saturation: SaturationRecord
    bottleneck: str | None


class LoadRecord(msgspec.Struct, frozen=True):
    """The load before the answer."""

    provisional_puts_per_second: float  # the tail of the fill
    offered_puts_per_second: float
    accepted_puts_per_second: float
    seconds: float
    bytes_per_put: float | None
    stopped_ratio: float
    delayed_ratio: float
    p99_seconds: float | None


class RampRecord(msgspec.Struct, frozen=True):
    """An open loop with a rising rate, puts/s, at the very end; None: it never came to that."""

    start_wall_seconds: float
    seconds: float
    from_puts_per_second: float
    to_puts_per_second: float
    first_delayed_seconds: float | None  # from the ramp's start
    first_stopped_seconds: float | None


class AnswerRecord(msgspec.Struct, frozen=True):
    """The agent's status of the database at one moment, as its API gave it."""

    moment: str  # "before" any saturation, or "after" one episode
    wall_seconds: float
    agent_seconds: float  # since the agent's start
    database: dict[str, Any] | None


class RunRecord(msgspec.Struct, frozen=True):
    """One run of one scenario."""

    scenario: str
    parameters: dict[str, Any]
    started_wall_seconds: float
    machine: dict[str, str]
    cpu_priority: bool
    fill_seconds: float
    fill_puts: int
    settle_seconds: float
    settled: bool
    load: LoadRecord
    truth: TruthRecord
    answers: list[AnswerRecord]
    first_estimate_seconds: dict[str, float]  # by model, from the agent's start
    wall_seconds: dict[str, float]  # when each phase began
    notes: list[str]
    recording: str | None = None
    ramp: RampRecord | None = None


def write_run(directory: Path, run: RunRecord) -> None:
    """Write ``run.json``; it stands only when the run is whole."""
    fresh = directory / (RUN_FILE + ".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    fresh.rename(directory / RUN_FILE)


def exists_or_is_under_way(out: Path, scenario: str) -> bool:
    """Whether a scenario has a whole run below ``out``, or a process that is still at it."""
    for directory in (out / scenario).glob("*/"):
        if (directory / RUN_FILE).exists():
            return True
        try:
            pid = int((directory / UNDER_WAY_FILE).read_text())
        except (FileNotFoundError, ValueError):
            continue
        if Path(f"/proc/{pid}").exists():
            return True
    return False


def read_runs(out: Path) -> list[tuple[Path, RunRecord]]:
    """Every whole run below a directory, oldest first."""
    runs = [
        (path.parent, msgspec.json.decode(path.read_bytes(), type=RunRecord))
        for path in out.rglob(RUN_FILE)
    ]
    return sorted(runs, key=lambda run: run[1].started_wall_seconds)
