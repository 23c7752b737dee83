"""Asks a guard in a thread of its own, beside a program that runs.

    lookout = Lookout(guard)
    why = lookout.look()      # now and then; a sentence when the program has to end
    lookout.close()

A guard looks at the databases' files, and so may wait for a device for as long as that is stuck.
Who kills the program at its deadline must never wait for it.
"""

import queue
import threading
import time
from collections.abc import Callable

LOOK_PATIENCE_SECONDS = 0.5
"""A look takes some tenths of a millisecond; where it takes so long, the databases wait, too."""

LOOK_WAIT_SECONDS = 0.05
"""How long one call waits for the answer; it is asked for again at the next."""


class Lookout:
    """The looks of one guard during one run; a look that takes too long is harm by itself."""

    def __init__(self, guard: Callable[[], str | None]) -> None:
        self._guard = guard
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        self._waiting_since: float | None = None
        threading.Thread(target=self._work, name="guard", daemon=True).start()

    def look(self) -> str | None:
        """Why the program has to end, None when nothing speaks against it.

        Returns after LOOK_WAIT_SECONDS at the latest. Raises what the guard raised.
        """
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
            self._asked.put(True)
        try:
            answer = self._answers.get(timeout=LOOK_WAIT_SECONDS)
        except queue.Empty:
            if time.monotonic() - self._waiting_since < LOOK_PATIENCE_SECONDS:
                return None
            return f"a look at the databases took more than {LOOK_PATIENCE_SECONDS:g} s"
        self._waiting_since = None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Let the thread end; one that is stuck ends as soon as its look does."""
        self._asked.put(False)

    def _work(self) -> None:
        while self._asked.get():
            try:
                self._answers.put(self._guard())
            except Exception as error:  # look() raises it again
                self._answers.put(error)
