"""Costly probes go one after another, and a thread that cannot be had is no catastrophe."""

import threading
import time

import pytest

from agent.readings import Missing
from agent.schedule import Slot, Turns, run_due
from probes.clock import SystemClock

PATIENCE_SECONDS = 20.0


class Counting:
    """Probes that note who ran, and how many at once."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.at_once = 0
        self._running = 0
        self._lock = threading.Lock()

    def slot(self, name: str, *, first_after_seconds: float = 0.0) -> Slot[object]:
        def read() -> str:
            with self._lock:
                self._running += 1
                self.at_once = max(self.at_once, self._running)
            time.sleep(0.005)
            with self._lock:
                self._running -= 1
                self.ran.append(name)
            return name

        return Slot(
            "costly",
            name,
            read,
            SystemClock(),
            cadence_seconds=60.0,
            timeout_seconds=PATIENCE_SECONDS,
            background=True,
            in_turn=True,
            first_after_seconds=first_after_seconds,
        )


def wait_for(counting: Counting, runs: int) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while len(counting.ran) < runs:
        assert time.monotonic() < give_up, f"only {counting.ran} ran"
        time.sleep(0.002)


def test_whoever_is_due_has_a_turn_and_nobody_beside_another() -> None:
    """Ten of them, offered again and again, as ticks do."""
    counting, turns = Counting(), Turns(SystemClock())
    slots = [counting.slot(str(number)) for number in range(10)]
    for _ in range(5):
        turns.offer(slots)
    wait_for(counting, 10)

    assert counting.at_once == 1
    assert sorted(counting.ran) == sorted(map(str, range(10)))


def test_who_has_waited_longest_goes_first() -> None:
    """Whatever the order they are offered in."""
    counting, turns = Counting(), Turns(SystemClock())
    late = counting.slot("late", first_after_seconds=-1.0)
    later = counting.slot("later", first_after_seconds=-5.0)
    turns.offer([late, later])
    wait_for(counting, 2)

    assert counting.ran == ["later", "late"]


def test_those_in_turn_are_not_started_beside_the_others() -> None:
    """A tick starts everything else at once."""
    counting = Counting()
    run_due([counting.slot("costly")], SystemClock(), 1.0)

    assert counting.ran == []


def test_after_the_end_nobody_has_a_turn() -> None:
    """A round under way ends with the probe that runs."""
    counting, turns = Counting(), Turns(SystemClock())
    turns.close()
    turns.offer([counting.slot("late")])
    time.sleep(0.05)

    assert counting.ran == []


def test_a_probe_without_a_thread_says_so_and_runs_once_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit on processes or memory was reached; it must not count as running for ever."""
    slot = Slot(
        "wal",
        "db",
        lambda: 7,
        SystemClock(),
        cadence_seconds=3600.0,
        timeout_seconds=1.0,
        retry_seconds=0.0,
    )

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        run_due([slot], SystemClock(), 1.0)
    refused = slot.answer(time.monotonic())
    run_due([slot], SystemClock(), PATIENCE_SECONDS)
    answered = slot.answer(time.monotonic())

    assert refused == Missing("no_thread", "wal cannot be run: can't start new thread")
    assert not isinstance(answered, Missing)
    assert answered.value == 7
