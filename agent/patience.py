"""What the start and a reload ask of file systems, for which no dead disk keeps them waiting.

questions = Questions(clock)
known = real_paths(database_paths, questions)   # without those that do not answer
patient = Questions(clock, STATE_PATIENCE_SECONDS)
path = state_directory_in_time(configured, environ, known, patient, log)
database = enclosing_in_time(path, known, questions)
"""

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import structlog

from agent.readings import Known
from agent.schedule import Slot, run_due
from agent.state_directory import StateDirectoryError, choose_state_directory
from probes.clock import Clock
from probes.scratch import enclosing_database

PATIENCE_SECONDS: Final = 1.0
"""How long an answer may take; it comes within a millisecond, or not at all."""

STATE_PATIENCE_SECONDS: Final = 10.0
"""Without the state directory nothing is kept until the next start, so a disk that is only busy, as
at the boot of a host that writes at once, is waited for. systemd waits for a minute."""

Logger = structlog.typing.FilteringBoundLogger
T = TypeVar("T")


class Questions:
    """Each is asked in a thread of its own. One that hangs keeps it, and is not asked again until
    it was answered, however often somebody wants to know."""

    def __init__(self, clock: Clock, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._hanging: dict[str, Slot[Any]] = {}

    def ask(self, questions: Mapping[str, Callable[[], T]]) -> dict[str, T]:
        """The answers that came in time, by the names of the questions."""
        hanging = {name: slot for name, slot in self._hanging.items() if slot.running}
        asked = {
            name: self._slot(name, question)
            for name, question in questions.items()
            if name not in hanging
        }
        run_due(asked.values(), self._clock, self._patience_seconds)
        self._hanging = hanging | {name: slot for name, slot in asked.items() if slot.running}
        now = self._clock.monotonic()
        answers = {name: slot.answer(now) for name, slot in asked.items()}
        return {name: it.value[0] for name, it in answers.items() if isinstance(it, Known)}

    def _slot(self, name: str, question: Callable[[], T]) -> Slot[tuple[T]]:
        return Slot(
            name,
            "host",
            lambda: (question(),),
            self._clock,
            cadence_seconds=math.inf,
            timeout_seconds=self._patience_seconds,
        )


def real_paths(paths: Iterable[str], questions: Questions) -> list[str]:
    """Where directories really lie, links followed: of those that answer.

    What does not answer encloses nothing that does: the way there leads through it.
    """
    asked = {f"real path of {path}": functools.partial(os.path.realpath, path) for path in paths}
    return list(questions.ask(asked).values())


def state_directory_in_time(
    configured: str | None,
    environ: Mapping[str, str],
    database_paths: Sequence[str],
    questions: Questions,
    log: Logger,
) -> str | None:
    """As ``choose_state_directory``; None also where it does not answer. A None is told."""

    def choose() -> str | StateDirectoryError | None:
        try:
            return choose_state_directory(configured, environ, database_paths)
        except StateDirectoryError as error:
            return error

    name = "state directory"
    answers = questions.ask({name: choose})
    answer = answers.get(name)
    if isinstance(answer, StateDirectoryError):
        raise answer
    if name not in answers:
        log.warning(
            "state_directory_silent",
            reason="the state directory does not answer",
            detail="nothing is kept until smaxd is restarted once its disk answers again",
        )
    elif answer is None:
        log.warning("state_not_kept", detail="no writable state directory; pass --state")
    return answer


def enclosing_in_time(
    directory: str, database_paths: Sequence[str], questions: Questions
) -> str | None:
    """As ``enclosing_database``; None also where ``directory`` does not answer."""
    name = "enclosing database"
    return questions.ask({name: lambda: enclosing_database(directory, database_paths)}).get(name)
