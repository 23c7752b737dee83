"""The load driver: built when its sources have changed, started in the writers' cgroup, obeying."""

import hashlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).with_name("driver")
COMPILE = ("g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror")
LIBRARIES = ("-lrocksdb", "-lpthread")
GRACE_SECONDS = 240.0
"""Beyond a command's own duration: a stopped database can hold a writer for minutes."""

READ_BYTES = 65_536

Line = dict[str, Any]
"""What the driver prints is kept as it is; ``results`` gives the fields used a type."""


def build(cache: Path) -> Path:
    """The driver's program; RuntimeError says what is missing to build it."""
    if shutil.which("g++") is None or not Path("/usr/include/rocksdb/db.h").exists():
        raise RuntimeError("building the driver needs: apt-get install g++ librocksdb-dev")
    sources = sorted(SOURCES.iterdir())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = cache / f"driver-{digest}"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = program.with_suffix(".new")
        done = subprocess.run(
            [*COMPILE, "-o", str(fresh), str(SOURCES / "main.cc"), *LIBRARIES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the driver does not build:\n{done.stderr[-2000:]}")
        fresh.rename(program)
    return program


class LoadDriver:
    """One driver process; every line it prints goes to ``transcript`` too."""

    def __init__(self, argv: Sequence[str], transcript: Path, errors: Path) -> None:
        self._transcript = transcript.open("a")
        self._errors = errors
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._answers = self._process.stdout.fileno()
        self._unread = b""
        self.pid = self._process.pid
        self._answer(GRACE_SECONDS, None)

    def ask(
        self, command: str, seconds: float, on_progress: Callable[[Line], None] | None = None
    ) -> Line:
        """Give a command that takes about ``seconds``; return its result line.

        ``on_progress`` is called with every progress line before. RuntimeError when the driver
        has ended or is silent for too long.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error
        return self._answer(seconds + GRACE_SECONDS, on_progress)

    def _answer(self, seconds: float, on_progress: Callable[[Line], None] | None) -> Line:
        give_up = time.monotonic() + seconds
        while True:
            line = self._next_line(give_up)
            if line["event"] == "result":
                return line
            if on_progress is not None:
                on_progress(line)

    def _next_line(self, give_up: float) -> Line:
        """Read without the file object's buffer: a line in it would be invisible to ``select``."""
        while b"\n" not in self._unread:
            left = give_up - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise RuntimeError("no answer from the driver")
            read = os.read(self._answers, READ_BYTES)
            if not read:
                raise self._gone()
            self._unread += read
        text, _, self._unread = self._unread.partition(b"\n")
        self._transcript.write(text.decode() + "\n")
        self._transcript.flush()
        line: Line = json.loads(text)
        return line

    def _gone(self) -> RuntimeError:
        self._process.wait()
        words = self._errors.read_text(errors="replace").strip()
        return RuntimeError(f"the driver ended ({self._process.returncode}): {words[-500:]}")

    def kill(self) -> None:
        """Make ``ask`` fail, from another thread; ``end`` remains to be called."""
        self._process.kill()

    def end(self) -> None:
        """End it; the database needs no orderly close."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._transcript):
            if file is not None:
                try:
                    file.close()
                except BrokenPipeError:
                    pass  # a command that it never read
