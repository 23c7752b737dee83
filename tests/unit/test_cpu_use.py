"""CPU use of everybody else, and of a process's only busy thread."""

import pytest

from agent.cpu_use import CpuUse, LoneWriterUse, OthersCpuUse, busy_cores
from agent.readings import Known, Missing
from probes.samples import HostCpuSample, ProcessSample, ThreadCpuSample

TICK = 5.0


def host(at: float, busy: float) -> Known[HostCpuSample]:
    sample = HostCpuSample(at=at, cores=4, busy_seconds=busy, total_seconds=4.0 * at)
    return Known(sample, "proc", at)


def process(
    at: float, cpu: float, threads: tuple[ThreadCpuSample, ...] = (), *, pid: int = 1
) -> Known[ProcessSample]:
    return Known(
        ProcessSample(
            at=at,
            pid=pid,
            start_ticks=pid,
            cpu_seconds=cpu,
            compaction_cpu_seconds=0.0,
            flush_cpu_seconds=0.0,
            foreground_cpu_seconds=cpu,
            written_bytes=None,
            read_bytes=None,
            resident_bytes=None,
            busiest_foreground_threads=threads,
        ),
        "proc",
        at,
    )


def thread(number: int, cpu: float, waited: float | None = None) -> ThreadCpuSample:
    return ThreadCpuSample(0.0, number, 1, cpu, None, waited)


def test_what_others_use_is_what_the_process_does_not() -> None:
    """2.5 of 4 cores are busy, 1.5 of them for the process."""
    others = OthersCpuUse()
    assert isinstance(others.cores(host(0.0, 0.0), process(0.0, 0.0)), Missing)
    found = others.cores(host(10.0, 25.0), process(10.0, 15.0))
    assert isinstance(found, Known)
    assert found.value == pytest.approx(1.0)


def test_work_between_two_ticks_is_busy_though_no_tick_saw_it() -> None:
    """Of 2 cores for 5 s, 6.9 s were idle and 0.1 s busy by the ticks: 3.1 s were worked."""
    before = HostCpuSample(at=0.0, cores=2, busy_seconds=10.0, total_seconds=100.0)
    after = HostCpuSample(at=5.0, cores=2, busy_seconds=10.1, total_seconds=107.0)
    assert busy_cores(before, after) == pytest.approx(0.62)
    host_use = CpuUse()
    host_use.busy_ratio(Known(before, "proc", 0.0))
    found = host_use.busy_ratio(Known(after, "proc", 5.0))
    assert isinstance(found, Known)
    assert found.value == pytest.approx(0.31)


def test_a_busy_minute_of_others_moves_a_mean_of_five() -> None:
    """Four minutes of nothing and one of two cores: 0.4."""
    others = OthersCpuUse()
    busy = 0.0
    for tick in range(120):
        busy += TICK * (2.0 if tick > 108 else 0.0)
        found = others.cores(host(tick * TICK, busy), process(tick * TICK, 0.0))
    assert isinstance(found, Known)
    assert found.value == pytest.approx(11 / 60 * 2.0, abs=0.01)


def test_what_counting_in_ticks_gets_wrong_does_not_add_up() -> None:
    """The process's ticks run ahead of the host's by turns; nobody else works."""
    others = OthersCpuUse()
    for tick in range(60):
        ahead = 0.5 * (tick % 2)
        found = others.cores(
            host(tick * TICK, tick * TICK), process(tick * TICK, tick * TICK + ahead)
        )
    assert isinstance(found, Known)
    assert found.value == pytest.approx(0.0, abs=0.01)


def test_a_restarted_process_is_not_compared_with_the_one_before() -> None:
    """Its CPU time begins at nothing."""
    others = OthersCpuUse()
    others.cores(host(0.0, 0.0), process(0.0, 1000.0))
    found = others.cores(host(5.0, 10.0), process(5.0, 1.0, pid=2))
    assert isinstance(found, Missing)
    found = others.cores(host(10.0, 20.0), process(10.0, 6.0, pid=2))
    assert isinstance(found, Known)
    assert found.value == pytest.approx(1.0)


def test_a_lone_thread_that_waits_for_a_core_does_not_sleep() -> None:
    """4 s on a core and 0.9 s in the run queue of 5."""
    lone = LoneWriterUse()
    lone.ratio(process(0.0, 0.0, (thread(7, 0.0, 0.0),)))
    found = lone.ratio(process(5.0, 4.1, (thread(7, 4.0, 0.9),)))
    assert isinstance(found, Known)
    assert found.value == pytest.approx(0.98)


def test_of_several_busy_threads_none_is_the_writer() -> None:
    """Readers keep cores busy too."""
    lone = LoneWriterUse()
    lone.ratio(process(0.0, 0.0, (thread(7, 0.0), thread(8, 0.0))))
    found = lone.ratio(process(5.0, 9.0, (thread(7, 5.0), thread(8, 4.0))))
    assert isinstance(found, Missing)
    assert found.reason == "several_threads"


def test_a_thread_that_was_not_there_before_tells_nothing() -> None:
    """What it used since its start is not what it used in the interval."""
    lone = LoneWriterUse()
    lone.ratio(process(0.0, 0.0, (thread(7, 0.0),)))
    assert isinstance(lone.ratio(process(5.0, 5.0, (thread(8, 5.0),))), Missing)
