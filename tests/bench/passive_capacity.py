"""How far natural traffic alone measures a device's capacity, on recordings of real databases.

    python -m tests.bench.passive_capacity            # on the recordings that are test data
    python -m tests.bench.passive_capacity --results DIR   # on all that tests/bench/accuracy left

Each recording is replayed with fio's results taken out. Share: of the recorded time from the first
tick on, and from the first passive measurement on, in which the estimate lay within 10 % of what
the device was throttled to. Most recordings begin with two minutes of load at 30 % of S_max.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.bandwidth import SATURATED_TRAFFIC
from agent.device_state import DeviceState
from agent.readings import Known, Missing
from agent.recording.recording import open_recording
from tests.bench.truth.scenarios import SCENARIOS

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))
TOLERANCE = 0.10

_NO_FIO = Missing("disabled", "fio's results are left out of this replay")


@dataclass(frozen=True, slots=True)
class PassiveRecord:
    """What natural traffic alone said over one recording; shares are of ``seconds``."""

    name: str
    truth_bytes_per_second: float
    seconds: float
    first_seconds: float | None  # until the first measurement
    good_seconds: float  # within the tolerance
    wrong_seconds: float  # measured, and outside of it
    bounded_seconds: float  # only a lower bound was known, which was not wrong
    worst_error: float | None  # of the measurements, relative

    @property
    def good_share(self) -> float:
        """Of the whole recording."""
        return self.good_seconds / self.seconds

    @property
    def good_share_after_first(self) -> float:
        """Of the time since the first measurement; 0 without one."""
        if self.first_seconds is None:
            return 0.0
        return self.good_seconds / max(1e-9, self.seconds - self.first_seconds)


def passive_record(name: str, recording: Path | None = None) -> PassiveRecord:
    """Replay one recording's device counters, without fio's results and without visible limits.

    The recording of scenario ``name`` that is test data, unless another one is given.
    """
    truth = next(s.device_mb_per_second for s in SCENARIOS if s.name == name) * 1e6
    state = DeviceState(86400.0)
    start = before = None
    first = worst = None
    good = wrong = bounded = 0.0
    path = recording or RECORDINGS / name / "recording.gz"
    for findings in open_recording(str(path)):
        if not findings.devices:
            continue
        device = dataclasses.replace(findings.devices[0], fio=_NO_FIO)
        snapshot = state.update(device, findings.diskstats, (), findings.at)
        if start is None or before is None:
            start = before = findings.at
        elapsed, before = findings.at - before, findings.at
        capacity = snapshot.capacity
        if not isinstance(capacity, Known):
            continue
        error = capacity.value.bytes_per_second / truth - 1.0
        if capacity.source == SATURATED_TRAFFIC:
            first = findings.at - elapsed - start if first is None else first
            worst = max(worst or 0.0, abs(error))
        if abs(error) <= TOLERANCE:
            good += elapsed
        elif capacity.value.lower_bound and error < 0:
            bounded += elapsed
        else:
            wrong += elapsed
    if start is None or before is None:
        raise ValueError(f"{name} holds no device")
    return PassiveRecord(name, truth, before - start, first, good, wrong, bounded, worst)


def results(directory: Path) -> list[tuple[str, Path]]:
    """Scenario and recording of each run below a directory of tests/bench/accuracy."""
    known = {scenario.name for scenario in SCENARIOS}
    return [
        (path.parts[-3], path)
        for path in sorted(directory.glob("*/*/recording*"))
        if path.parts[-3] in known
    ]


def lines(recordings: list[tuple[str, Path | None]]) -> Iterator[str]:
    """A table for people."""
    yield f"{'recording':<28}{'first after':>12}{'within 10 %':>13}{'since first':>13}{'worst':>8}"
    records = []
    for name, path in recordings:
        record = passive_record(name, path)
        records.append(record)
        first = "never" if record.first_seconds is None else f"{record.first_seconds:.0f} s"
        worst = "-" if record.worst_error is None else f"{record.worst_error:.1%}"
        yield (
            f"{record.name:<28}{first:>12}{record.good_share:>13.0%}"
            f"{record.good_share_after_first:>13.0%}{worst:>8}"
        )
    seconds = sum(record.seconds for record in records)
    good = sum(record.good_seconds for record in records)
    wrong = sum(record.wrong_seconds for record in records)
    measured = sum(r.seconds - r.first_seconds for r in records if r.first_seconds is not None)
    never = sum(record.first_seconds is None for record in records)
    yield (
        f"all: {good:.0f} of {seconds:.0f} s ({good / seconds:.0%}) within 10 %, "
        f"{wrong:.0f} s wrong, the rest not measured yet; "
        f"{good / max(1.0, measured):.0%} of the time since the first measurement, "
        f"which {never} of {len(records)} never had"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="passive_capacity", description=__doc__)
    parser.add_argument("--results", type=Path, metavar="DIR", help="of tests/bench/accuracy")
    directory = parser.parse_args().results
    recordings: list[tuple[str, Path | None]] = (
        [(name, None) for name in NAMES] if directory is None else [*results(directory)]
    )
    for line in lines(recordings):
        print(line)


if __name__ == "__main__":
    main()
