"""The real daemon and real writers as processes of their own; nothing outlives its block."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 40.0
"""How long a test waits for what is sure to come; generous, because other work may slow a host."""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """One scrape."""

    text: str

    def samples(self, name: str, **labels: str) -> list[tuple[Labels, float]]:
        """All series of a name that have these labels, and perhaps more."""
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float | None:
        """The one series of a name with these labels; None when it is absent."""
        found = self.samples(name, **labels)
        assert len(found) <= 1, f"{name} with {labels} is there {len(found)} times"
        return found[0][1] if found else None

    def reasons(self, database: str) -> dict[str, str]:
        """Why quantities of a database are not known, by quantity."""
        return {
            labels["quantity"]: labels["reason"]
            for labels, _ in self.samples("smax_unavailable", db=database)
        }


@dataclass(frozen=True)
class Daemon:
    """A running daemon."""

    process: subprocess.Popen[bytes]
    address: str
    log_file: Path
    home: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.address}"

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as response:  # noqa: S310 - http to our own daemon
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def page(self) -> Page:
        """Scrape it."""
        return Page(self.get("/metrics")[1])

    def status(self) -> dict[str, Any]:
        """The status document; empty before the first tick."""
        code, body = self.get("/api/v1/status")
        document: dict[str, Any] = json.loads(body) if code == 200 else {}
        return document

    def events(self, event: str) -> list[str]:
        """The log lines of one event."""
        lines = self.log_file.read_text().splitlines()
        return [line for line in lines if f" event={event} " in f"{line} "]

    def wait_until(
        self,
        condition: Callable[[Page], object],
        what: str,
        seconds: float = PATIENCE_SECONDS,
    ) -> Page:
        """Scrape until the condition holds."""
        give_up = time.monotonic() + seconds
        while True:
            page = self.page()
            if condition(page):
                return page
            assert self.process.poll() is None, f"the daemon ended: {self.log_file.read_text()}"
            assert time.monotonic() < give_up, (
                f"never: {what}\n{page.text}\n{self.log_file.read_text()}"
            )
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    def smaxd(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call the command line against it, without a terminal."""
        return subprocess.run(
            [sys.executable, "-m", "agent", *words],
            env=environment(self.home, SMAXD_URL=self.url),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory on a disk, where pytest's own may be in memory, that other users may enter."""
    path = Path(tempfile.mkdtemp(prefix="smaxd-test-", dir=os.environ.get("TMPDIR", "/var/tmp")))  # noqa: S108 - mkdtemp
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment that knows nothing of the user: home, state and temporary files are ours."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "STATE_DIRECTORY": str(home / "state"),  # as root it would be the system's
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


@contextmanager
def daemon(
    place: Path,
    *arguments: str,
    python: str = sys.executable,
    user: int | None = None,
    **more: str,
) -> Iterator[Daemon]:
    """Run ``smaxd run`` on a free port until the end of the block; its home is below ``place``.

    ``more`` goes to its environment, ``user`` is the user id it runs as.
    """
    home = place / "home"
    for directory in (home / "tmp", home / ".local" / "state" / "smaxd"):
        directory.mkdir(parents=True, exist_ok=True)
    if user is not None:
        for path in (home, *home.rglob("*")):
            os.chown(path, user, user)
    log_file = place / "smaxd.log"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(
            [python, "-m", "agent", "run", "--web.listen-address", "127.0.0.1:0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(home, **more),
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        ) as process,
    ):
        try:
            yield Daemon(process, _address(process, log_file), log_file, home)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes], log_file: Path) -> str:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        text = log_file.read_text()
        started = re.search(r"event=started .*address=(\S+)", text)
        if started:
            return started[1]
        assert process.poll() is None, f"the daemon ended: {text}"
        assert time.monotonic() < give_up, f"the daemon does not start: {text}"
        time.sleep(0.02)


def write_config(place: Path, text: str = "", tick_seconds: float = 0.2) -> str:
    """Write a configuration with a fast tick, and return its path."""
    file = place / "smaxd.yaml"
    file.write_text(f"tick_seconds: {tick_seconds}\n{text}")
    return str(file)


WRITER = """
import os, sys, time
from rocksdict import Options, Rdict
options = Options()
options.create_if_missing(True)
options.set_write_buffer_size(int(sys.argv[2]))
database = Rdict(sys.argv[1], options)
number = 0
while True:
    for _ in range(100):
        database[number % 100_000] = os.urandom(500)
        number += 1
    time.sleep(0.02)
"""


@contextmanager
def process(argv: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a group of its own until the end of the block."""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, start_new_session=True, **options
    ) as running:
        try:
            yield running
        finally:
            try:
                os.killpg(running.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself


@contextmanager
def writing(
    database: Path, write_buffer_bytes: int = 1 << 20, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes some 1000 puts/s to a rocksdict database until the end of the block.

    ``more`` goes to its environment.
    """
    argv = [sys.executable, "-c", WRITER, str(database), str(write_buffer_bytes)]
    with process(argv, env={**os.environ, **more}) as writer:
        wait_for(database / "CURRENT", writer)
        yield writer


def wait_for(
    path: Path, writer: subprocess.Popen[bytes], seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait for a file that a process is going to make."""
    give_up = time.monotonic() + seconds
    while not path.exists():
        assert writer.poll() is None, f"the writer ended without {path}"
        assert time.monotonic() < give_up, f"{path} never came"
        time.sleep(0.02)


def processes_naming(text: str) -> list[str]:
    """Command lines, and environments' owners, of the running processes that name ``text``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            command = (entry / "cmdline").read_bytes()
            known = (entry / "environ").read_bytes()
            directory = os.readlink(entry / "cwd")
        except OSError:
            continue
        if entry.name != str(os.getpid()) and text in f"{command!r}{known!r}{directory}":
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def leftovers(place: Path, kept: Collection[str] = ()) -> list[str]:
    """What a daemon that has ended has left: files in its home, processes that know the place.

    ``kept`` are names of files of its state that are there for a reason.
    """
    home = place / "home"
    expected = {
        home / name
        for name in (
            "tmp",
            "state",
            "state/alerts.json",
            "state/delivery.json",
            "state/history.db",
            "state/learned.json",
            "state/wear.json",
            "state/wear.lock",
            ".local",
            ".local/state",
            ".local/state/smaxd",
            *(f"state/{name}" for name in kept),
        )
    }
    files = [str(path) for path in home.rglob("*") if path not in expected]
    return files + processes_naming(str(home))
