"""A daemon with a database that things happen to, and all that they can be done with."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from agent.wear import record as wear_record
from tests.integration.daemon import Daemon, daemon, processes_naming, write_config
from tests.integration.demands import DECODERS, Demands, tells_of_no_defect, written_by_fio
from tests.integration.faults import FIO, children, eventually, names, path_with, scratch_files
from tests.integration.owner import Owner, owning
from tests.integration.test_faults_state_directory import often_saving
from tests.integration.volume import Volume

SETTINGS: Final = ("write_buffer_size=268435456", "max_log_file_size=2000")
"""The owner needs no new file while its database is away, and its LOG is rotated by any flush."""

WATCH_SECONDS: Final = 0.02
BLOCK_BYTES: Final = 65536
"""fio writes whole ones; a page beside them is of the file system's own tables."""


class Stage:
    """Until its block ends; ``demanded`` is what must hold of the daemon, whichever lives now.

    with (
        Stage(place, volume, place / "db", other, config) as stage,
        demands(stage.start(), place, other, state=stage.state) as stage.demanded,
    ):
        stage.kill()
        stage.restart()
    """

    def __init__(
        self, place: Path, volume: Volume, database: Path, other: Path, config: str
    ) -> None:
        self.place, self.volume, self.database = place, volume, database
        self.state = volume.path / "state"
        self.programs = place / "programs"
        self.fio_bytes, self.seen_bytes = 0.0, 0
        self.owner: Owner
        self.demanded: Demands
        self.other = other
        self._config = config
        self._words = (
            *("--config", write_config(place, self.configuration(database, other))),
            *("--state", str(self.state)),
        )
        self._program = often_saving(place)
        self._owning, self._living = ExitStack(), ExitStack()
        self._lives = 0

    def __enter__(self) -> "Stage":
        self.state.mkdir(mode=0o700)
        self.programs.mkdir()
        self.own()
        return self

    def __exit__(self, *_: object) -> None:
        self._living.close()
        self._owning.close()

    def files(self) -> list[Path]:
        """What is kept now."""
        return list(self.state.iterdir()) if self.state.is_dir() else []

    @property
    def running(self) -> Daemon:
        """The daemon of now."""
        return self.demanded.running

    def own(self) -> None:
        """Have a process open the database and write to it, instead of the one that does."""
        self._owning.close()
        self.owner = self._owning.enter_context(owning(self.database, *SETTINGS))

    def start(self) -> Daemon:
        """Start a daemon."""
        running = self._living.enter_context(
            daemon(self.place, *self._words, python=self._program, PATH=path_with(self.programs))
        )
        self._watching = self._living.enter_context(watching_fio(running.process.pid))
        return running

    def kill(self) -> None:
        """End the daemon as a power cut does; its children must not outlive it."""
        self.running.process.kill()
        self.running.process.wait()
        self.end_life()
        eventually(lambda: not processes_naming(str(self.place / "home")), "every child is gone")
        for name in DECODERS.keys() & {path.name for path in self.files()}:
            DECODERS[name]((self.state / name).read_bytes())
        log = self.running.log_file
        tells_of_no_defect(log)
        self._lives += 1
        log.rename(log.with_name(f"killed-{self._lives}.log"))

    def end_life(self) -> None:
        """The daemon has ended, and with it what fio wrote for it."""
        self._living.close()
        self.seen_bytes += sum(size - size % BLOCK_BYTES for size in self._watching.values())

    def accounted_bytes(self) -> int:
        """What fio has written, or still may have, by the account on the disk."""
        record = wear_record.decode((self.state / "wear.json").read_bytes())
        return sum(
            account.totals.get(FIO, 0)
            + sum(one.size_bytes for one in account.reservations if one.purpose == FIO)
            for account in record.accounts
        )

    def restart(self) -> None:
        """Start the next one: what was left is gone, and what fio wrote is on the account."""
        if not (self.state / "wear.json").exists():
            # It was removed, and nobody lived to write it anew.
            self.fio_bytes, self.seen_bytes = 0.0, 0
        running = self.start()
        self.demanded.go_on_with(running)
        assert scratch_files(self.place, but_of=[running.process.pid]) == []

    def reload(self, text: str) -> None:
        """Give the daemon another file, which it reads as soon as it goes on."""
        write_config(self.place, text)
        self.running.process.send_signal(signal.SIGHUP)

    def configuration(self, *databases: Path, more: str = "") -> str:
        """The file that the daemon begins with, or one that watches others."""
        listed = "".join(f"  - path: {path}\n" for path in databases)
        return f"{more or self._config}databases:\n{listed}"

    def reload_first(self) -> None:
        """Give the daemon the file that it began with."""
        self.reload(self.configuration(self.database, self.other))

    def count_fio(self) -> None:
        """What fio has written never becomes less, whoever is killed and whatever is full."""
        written = written_by_fio(self.running.page())
        assert written >= self.fio_bytes
        self.fio_bytes = written


@contextmanager
def watching_fio(parent: int) -> Iterator[dict[int, int]]:
    """The bytes that the kernel has seen each fio of a daemon write, by process id; at least."""
    seen: dict[int, int] = {}
    done = threading.Event()

    def work() -> None:
        while not done.wait(WATCH_SECONDS):
            for fio, command in children(parent).items():
                if names(command, FIO):
                    for pid in (fio, *children(fio)):
                        seen[pid] = max(seen.get(pid, 0), written_bytes(pid))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def written_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return int(dict(line.split(": ") for line in lines)["write_bytes"])
