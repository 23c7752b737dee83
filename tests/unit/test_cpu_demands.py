"""CPU per put from the owner's counters."""

from dataclasses import replace
from typing import Any

import pytest

from agent.demands.cpu_work import CpuDemands, CpuWork
from agent.readings import Known
from probes.samples import ProcessSample, ThreadCpuSample
from tests.unit.agent_samples import a_process


def process(at: float, cpu: float, **changes: Any) -> ProcessSample:
    """A process of which foreground, flush and compaction used ``cpu`` seconds each."""
    sample = a_process(at, round(cpu * 1e6)).value
    return replace(
        sample,
        foreground_cpu_seconds=cpu,
        flush_cpu_seconds=cpu / 10.0,
        compaction_cpu_seconds=cpu / 2.0,
        **changes,
    )


def thread(number: int, cpu: float, runs: int) -> ThreadCpuSample:
    return ThreadCpuSample(0.0, number, 1, cpu, runs)


def followed(*readings: tuple[ProcessSample, int], exact: bool = True) -> CpuDemands | None:
    work = CpuWork()
    result = None
    for sample, sequence in readings:
        result = work.update(sample, sequence, exact=exact)
    return result


def test_cpu_per_put_is_cpu_over_puts_of_the_same_time() -> None:
    """Ten seconds of 1000 puts/s that used 0.1 s of CPU: 10 us a put."""
    found = followed((process(0.0, 1.0), 5000), (process(10.0, 1.1), 15000))
    assert found is not None
    assert found.foreground is not None
    assert found.flush is not None
    assert found.compaction is not None
    assert pytest.approx((found.foreground.value, found.flush.value, found.compaction.value)) == (
        10e-6,
        1e-6,
        5e-6,
    )


def test_one_reading_says_nothing() -> None:
    """Counters need a difference."""
    assert followed((process(0.0, 1.0), 5000)) is None


def test_idle_time_is_left_out() -> None:
    """What runs without puts is no put's cost."""
    found = followed(
        (process(0.0, 1.0), 5000),
        (process(100.0, 2.0), 5010),  # idle, but not asleep
        (process(110.0, 2.1), 15010),
    )
    assert found is not None
    assert found.foreground is not None
    assert pytest.approx(10e-6) == found.foreground.value


def test_without_a_wal_an_interval_lasts_from_flush_to_flush() -> None:
    """The sequence number stands still between them while the CPU is used."""
    found = followed(
        (process(0.0, 1.0), 5000),
        (process(50.0, 1.5), 5000),
        (process(100.0, 2.0), 105_000),
        exact=False,
    )
    assert found is not None
    assert found.foreground is not None
    assert pytest.approx(10e-6) == found.foreground.value


@pytest.mark.parametrize(
    "after", [replace(process(10.0, 0.1), start_ticks=2), replace(process(10.0, 0.1), pid=43)]
)
def test_another_process_begins_anew(after: ProcessSample) -> None:
    """A restarted owner counts from zero."""
    assert followed((process(0.0, 1.0), 5000), (after, 15000)) is None


def test_the_number_of_busy_threads_is_told_by_their_use() -> None:
    """Three equal writers beside one that hardly runs make about three."""
    before = process(
        0.0, 1.0, busiest_foreground_threads=tuple(thread(n, 1.0, 10) for n in range(4))
    )
    after = process(
        10.0,
        1.1,
        busiest_foreground_threads=(
            *(thread(n, 1.03, 1010) for n in range(3)),
            thread(3, 1.0001, 20),
        ),
    )
    found = followed((before, 0), (after, 10_000))
    assert found is not None
    assert isinstance(found.busy_threads, Known)
    assert pytest.approx(3.0, abs=0.05) == found.busy_threads.value


def test_runs_per_put_count_for_all_threads_by_their_share_of_the_cpu() -> None:
    """The threads seen used half of the foreground's CPU: twice as many runs in all."""
    before = process(0.0, 1.0, busiest_foreground_threads=(thread(1, 1.0, 0),))
    after = process(10.0, 1.1, busiest_foreground_threads=(thread(1, 1.05, 2500),))
    found = followed((before, 0), (after, 10_000))
    assert found is not None
    assert found.runs is not None
    assert pytest.approx(0.5) == found.runs.value


def test_what_the_kernel_wrote_is_compared_with_what_rocksdb_wrote_meanwhile() -> None:
    """100 kB of tables and 100 B of WAL a put: 1.1 MB, of which 0.1 MB reached the device."""
    work = CpuWork()
    work.update(process(0.0, 1.0), 0, exact=True, table_bytes=500, wal_bytes_per_put=100.0)
    found = work.update(
        process(10.0, 1.1), 10_000, exact=True, table_bytes=100_500, wal_bytes_per_put=100.0
    )
    assert found is not None
    assert found.reaching_share is not None
    assert pytest.approx(0.1e6 / 1.1e6) == found.reaching_share.value
