"""The simulator beside the tick: inline, and in a child process."""

import sys
import threading
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from agent.models.lsm import Simulated
from agent.models.lsm_simulator import simulate
from agent.readings import Missing
from agent.simulator import ChildProcessSimulator, InlineSimulator
from probes.command import CompletedCommand, Guard, ProcessGroupRunner
from probes.errors import ProbeFailed
from tests.unit.model_inputs_samples import model_inputs
from tests.unit.patience import eventually


class FakeRunner:
    """Answers with what it was given, and counts."""

    def __init__(self, answer: CompletedCommand | ProbeFailed) -> None:
        self.answer = answer
        self.runs: list[tuple[str, ...]] = []
        self.at_once = 0
        self._running = 0
        self._lock = threading.Lock()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> CompletedCommand:
        with self._lock:
            self.runs.append(tuple(argv))
            self._running += 1
            self.at_once = max(self.at_once, self._running)
        try:
            if isinstance(self.answer, ProbeFailed):
                raise self.answer
            return self.answer
        finally:
            with self._lock:
                self._running -= 1


def answer_of(simulator: ChildProcessSimulator, database: str) -> Simulated | Missing:
    """The first one, once it is there."""

    def is_there() -> bool:
        answer = simulator.answers()[database]
        return isinstance(answer, Simulated) or answer.reason != "not_simulated_yet"

    assert eventually(is_there)
    return simulator.answers()[database]


def comes_to_answer(simulator: ChildProcessSimulator, expected: Simulated) -> bool:
    return eventually(lambda: simulator.answers() == {"db": expected})


def test_a_child_process_finds_what_the_simulator_finds() -> None:
    """The real child, started as the daemon does: the very same answer."""
    simulator = ChildProcessSimulator(ProcessGroupRunner())
    inputs = model_inputs()
    simulator.submit("db", inputs)
    assert answer_of(simulator, "db") == Simulated(inputs, simulate(inputs))
    assert list(simulator.answers()) == ["db"]
    simulator.close()


def test_inputs_without_sense_come_back_as_a_reason() -> None:
    """Through the child: what is wrong, not a traceback."""
    simulator = ChildProcessSimulator(ProcessGroupRunner())
    simulator.submit("db", model_inputs(host={"cpu_cores": 0.0}))
    answer = answer_of(simulator, "db")
    assert isinstance(answer, Missing)
    assert answer.reason == "simulator_failed"
    assert "cpu_cores must be a positive number" in answer.detail
    simulator.close()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (ProbeFailed("timeout", "late"), "simulator_timeout"),
        (CompletedCommand(-14, b"", b""), "simulator_killed"),
        (CompletedCommand(1, b"", b"Traceback: no module"), "simulator_failed"),
        (CompletedCommand(0, b'{"puts_per_second": "many"}', b""), "simulator_failed"),
    ],
)
def test_a_child_that_fails_is_a_reason(
    outcome: CompletedCommand | ProbeFailed, reason: str
) -> None:
    """Late, killed, broken, or talking nonsense."""
    simulator = ChildProcessSimulator(FakeRunner(outcome))
    simulator.submit("db", model_inputs())
    answer = answer_of(simulator, "db")
    assert isinstance(answer, Missing)
    assert answer.reason == reason
    simulator.close()


def test_an_answer_comes_with_the_inputs_it_was_made_from() -> None:
    """Others may have been asked for while it ran."""
    rate = simulate(model_inputs())
    runner = FakeRunner(CompletedCommand(0, msgspec.json.encode(rate), b""))
    simulator = ChildProcessSimulator(runner)
    for at in (0.0, 60.0):
        inputs = msgspec.structs.replace(model_inputs(), at=at)
        simulator.submit("db", inputs)
        assert comes_to_answer(simulator, Simulated(inputs, rate))
    assert len(runner.runs) == 2
    simulator.close()


def test_children_run_one_at_a_time() -> None:
    """Many databases are a queue."""
    runner = FakeRunner(CompletedCommand(0, msgspec.json.encode(simulate(model_inputs())), b""))
    simulator = ChildProcessSimulator(runner)
    for name in ("a", "b", "c"):
        simulator.submit(name, model_inputs())
    for name in ("a", "b", "c"):
        answer_of(simulator, name)
    assert len(runner.runs) == 3
    assert runner.at_once == 1
    assert all(run[0] == sys.executable for run in runner.runs)
    simulator.close()


def test_after_closing_nothing_starts() -> None:
    """And close returns."""
    runner = FakeRunner(ProbeFailed("stopped", "the agent is stopping"))
    simulator = ChildProcessSimulator(runner)
    simulator.close()
    simulator.submit("db", model_inputs())
    assert runner.runs == []


def test_inline_simulation_answers_at_once() -> None:
    """With the inputs, or with the reason why there is none."""
    simulator = InlineSimulator()
    first = model_inputs()
    simulator.submit("db", first)
    assert simulator.answers() == {"db": Simulated(first, simulate(first))}
    bad = msgspec.structs.replace(first, host=msgspec.structs.replace(first.host, cpu_cores=0.0))
    simulator.submit("db", bad)
    assert isinstance(simulator.answers()["db"], Missing)


def test_databases_that_are_gone_are_forgotten() -> None:
    """Where they come and go, each under a name of its own, their answers must not pile up."""
    rate = simulate(model_inputs())
    runner = FakeRunner(CompletedCommand(0, msgspec.json.encode(rate), b""))
    for simulator in (InlineSimulator(), ChildProcessSimulator(runner)):
        for name in ("first", "second", "third"):
            simulator.submit(name, model_inputs())
        simulator.keep({"third", "fourth"})
        # One that runs meanwhile answers afterwards, and goes the next time.
        assert eventually(lambda: isinstance(simulator.answers()["third"], Simulated))  # noqa: B023
        simulator.keep({"third", "fourth"})
        assert list(simulator.answers()) == ["third"]
        simulator.close()


def test_the_simulator_begins_once_there_is_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on processes or memory was reached; it must not stay silent for ever."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    rate = simulate(model_inputs())
    simulator = ChildProcessSimulator(
        FakeRunner(CompletedCommand(0, msgspec.json.encode(rate), b""))
    )
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            simulator.submit("db", model_inputs())
    simulator.submit("db", model_inputs())
    assert answer_of(simulator, "db") == Simulated(model_inputs(), rate)
    simulator.close()
