"""When the agent was at work, from its CPU clock and its children."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.bench.observer_activity import (
    AFTERMATH_RATIO,
    CHILD_AFTERMATH_SECONDS,
    SLOT_SECONDS,
    ActivitySample,
    ActivityWatch,
    has_child,
    work_times,
)


def sampled(*slots: tuple[float, bool]) -> list[ActivitySample]:
    """From second 100 on, a slot each: the CPU used in it, and whether there is a child after."""
    found = [ActivitySample(100.0, 5.0, False)]
    for used, child in slots:
        last = found[-1]
        found.append(ActivitySample(last.at + SLOT_SECONDS, last.cpu_seconds + used, child))
    return found


def test_a_process_that_sleeps_is_never_at_work() -> None:
    """Nothing is felt of it."""
    work = work_times(sampled(*[(0.0, False)] * 50))
    assert not work.contain(np.linspace(99.0, 102.0, 301)).any()


def test_a_glance_is_not_work() -> None:
    """A third of a millisecond each second."""
    work = work_times(sampled(*[(0.0003, False), (0.0, False)] * 25))
    assert len(work.begins) == 0


def test_work_is_felt_from_a_slot_before_it_until_long_after_it() -> None:
    """5 ms of CPU in the tenth slot: 50 ms of aftermath."""
    work = work_times(sampled(*[(0.0, False)] * 9, (0.005, False), *[(0.0, False)] * 20))
    assert work.begins.tolist() == pytest.approx([100.0 + 8 * SLOT_SECONDS])
    assert work.ends.tolist() == pytest.approx(
        [100.0 + 10 * SLOT_SECONDS + AFTERMATH_RATIO * 0.005]
    )


def test_work_that_follows_closely_is_one_time() -> None:
    """The moments inside belong to it, those at either side do not."""
    work = work_times(sampled((0.0, False), (0.002, False), (0.0, False), (0.003, False)))
    assert len(work.begins) == 1
    moments = np.array([99.99, 100.01, 100.05, 100.10, 100.12])
    assert work.contain(moments).tolist() == [False, True, True, True, False]


def test_a_child_counts_for_its_whole_life_and_its_aftermath() -> None:
    """What it does is not seen slot by slot."""
    slots = [(0.0001, True), *[(0.0, True)] * 5, *[(0.0, False)] * 5]
    work = work_times(sampled(*slots))
    assert work.ends.tolist() == pytest.approx([100.0 + 7 * SLOT_SECONDS + CHILD_AFTERMATH_SECONDS])


def test_no_samples_are_no_work() -> None:
    """And no error."""
    assert not work_times([]).contain(np.array([1.0])).any()


def test_the_watch_sees_a_real_process_work_and_sleep() -> None:
    """It computes when it is told to, and has slept before."""
    words = "import sys\nfor _ in sys.stdin: sum(range(3_000_000)); print(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):  # the first time it is still starting
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
        watch = ActivityWatch(process.pid)
        time.sleep(0.3)
        before = time.monotonic()
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = time.monotonic()
        time.sleep(2 * SLOT_SECONDS)
        work = work_times(watch.end())
        process.stdin.close()
    assert work.contain(np.linspace(before, after, 5)).all()
    assert not work.contain(np.array([before - 0.2])).any()


def test_a_process_that_ends_while_it_is_watched_is_an_error() -> None:
    """Its rest would look like sleep."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watch = ActivityWatch(process.pid)
        time.sleep(2 * SLOT_SECONDS)
        process.communicate(b"\n")
        time.sleep(1.1)
        with pytest.raises(OSError, match="could not be watched"):
            watch.end()


def test_a_child_is_seen_while_it_lives() -> None:
    """Of any thread."""
    own = os.getpid()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert has_child(own)
        child.communicate(b"\n")
