"""What is demanded of the daemon under every fault, and after it.

    with daemon(...) as running, demands(running, place, other) as demanded:
        ...                                                    # the fault
        demanded.absent(database, "database_missing", "recommended")
        demanded.others_go_on()
        ...                                                    # its cause goes
        demanded.published(database, "recommended")

At the end of the block: the daemon is alive and never failed as a whole, the unaffected databases
are published and fresh, it ends when told to, and leaves no file, process, mount or descriptor;
what it keeps between its runs can be read, and has every byte that was counted.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from agent.alerts.book import decode_book
from agent.database_metrics import DATABASE_GAUGES, PLACED_GAUGES
from agent.delivery import record as delivery_record
from agent.learning import memory
from agent.wear import record as wear_record
from agent.wear.account_lock import LOCK_NAME
from agent.wear.budget import WearAccount
from tests.integration.daemon import Daemon, Page, leftovers
from tests.integration.faults import eventually, ticks

RECOMMENDED: Final = "recommended"
"""S_max, as the daemon calls it inside."""

FRESH_SECONDS: Final = 10.0
"""A number this young is of a recent tick, also where a tenth of a processor is all there is."""

TICKS: Final = 3
"""After so many more ticks a fault has had its time to be felt elsewhere."""

OF_ITS_FILES: Final = ("observed_puts_per_second", "size_bytes", "live_wal_bytes")
"""What is known of a database that can be read, whatever happens to programs and other places."""

SPARE_DESCRIPTORS: Final = 2
"""A database may have a file more open after a fault than before; one that leaks has many more."""

METRIC: Final = {
    RECOMMENDED: "smax_recommended_puts_per_second",
    **{attribute: name for attribute, name, _ in (*DATABASE_GAUGES, *PLACED_GAUGES)},
}
IN_STATUS: Final = {RECOMMENDED: "recommended_puts_per_second"}

DEFECTS: Final = (
    "Traceback",
    "event=tick_failed",
    "event=part_failed",
    "event=stop_failed",
    "reason=defect",
)

DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    "learned.json": memory.decode,
    "wear.json": wear_record.decode,
    "alerts.json": decode_book,
    "delivery.json": delivery_record.decode,
}


class Demands:
    """The same for every fault; ``unaffected`` are databases that it must not touch."""

    def __init__(self, running: Daemon, unaffected: Collection[Path]) -> None:
        self._running = running
        self._unaffected = unaffected

    @property
    def running(self) -> Daemon:
        """The daemon that is asked."""
        return self._running

    def go_on_with(self, running: Daemon) -> None:
        """The former one was killed; what was demanded of it is demanded of this one."""
        self._running = running

    def others_go_on(self) -> Page:
        """Some ticks later the daemon answers, and every unaffected database is published, fresh,
        and its count moves."""
        before = self._running.page()
        page = self._running.wait_until(
            lambda page: (
                ticks(page) >= ticks(before) + TICKS
                and all(goes_on(before, page, database) for database in self._unaffected)
            ),
            f"{self._unaffected}, which nothing happens to, go on",
        )
        assert self._running.get("/healthz") == (200, "ok\n")
        return page

    def absent(self, database: Path, reasons: str | Collection[str], *quantities: str) -> Page:
        """Wait until these are not published, and why is told on the page and in the status."""
        wanted = {reasons} if isinstance(reasons, str) else set(reasons)
        name = str(database)

        def told(page: Page) -> bool:
            return all(
                page.reasons(name).get(quantity) in wanted
                and page.samples(METRIC[quantity], db=name) == []
                for quantity in quantities
            )

        page = self._running.wait_until(told, f"{quantities} of {name} absent: {wanted}")
        eventually(
            lambda: all(self._in_status(name, one).get("reason") in wanted for one in quantities),
            f"the status says {wanted} of {quantities}",
        )
        return page

    def published(self, database: Path, *quantities: str) -> Page:
        """Wait until these are known of a database, again or for the first time."""
        return self._running.wait_until(
            lambda page: all(page.samples(METRIC[one], db=str(database)) for one in quantities),
            f"{quantities} of {database}",
        )

    def _in_status(self, name: str, quantity: str) -> dict[str, object]:
        for database in self._running.status().get("databases", ()):
            if database["name"] == name:
                found: dict[str, object] = database["quantities"][IN_STATUS.get(quantity, quantity)]
                assert found.get("reason") is None or found["value"] is None
                return found
        return {}


@contextmanager
def demands(
    running: Daemon,
    place: Path,
    *unaffected: Path,
    state: Path | None = None,
    kept: Collection[str] = (),
) -> Iterator[Demands]:
    """The demands on a daemon whose home is in ``place``, until it has ended.

    ``state`` is where it keeps its state if not in its home, ``kept`` are the names of files that
    are rightly there besides its own.
    """
    made = Demands(running, unaffected)
    made.others_go_on()
    before, mounts = descriptors(running), mounts_below(place)
    yield made
    page, running = made.others_go_on(), made.running
    eventually(lambda: descriptors(running) <= before + SPARE_DESCRIPTORS, "no more open files")
    assert running.stop() == 0
    tells_of_no_defect(running.log_file)
    assert leftovers(place, kept) == []
    assert scratch_below(place) == []
    assert mounts_below(place) == mounts
    state_is_sound(state or place / "home/state", written_by_fio(page), kept)


def goes_on(before: Page, page: Page, database: Path) -> bool:
    """Whether it is published, its put rate young, and its puts were counted since ``before``."""
    counts = [one.value("smax_puts_total", db=str(database)) or 0.0 for one in (before, page)]
    return is_fresh(page, database) and counts[1] > counts[0]


def is_fresh(page: Page, database: Path) -> bool:
    """Whether what its files tell is published, and its put rate young."""
    name = str(database)
    age = page.value("smax_estimate_age_seconds", db=name, quantity=OF_ITS_FILES[0])
    return (
        all(page.value(METRIC[quantity], db=name) is not None for quantity in OF_ITS_FILES)
        and age is not None
        and 0.0 <= age < FRESH_SECONDS
    )


def tells_of_no_defect(log_file: Path) -> None:
    log = log_file.read_text()
    assert [word for word in DEFECTS if word in log] == [], log


def descriptors(running: Daemon) -> int:
    """Open ones, the least of some looks: those that a tick or a scrape opens come and go.

    Not those of the state directory: the history opens its file when it first writes.
    """
    least = _descriptors(running.process.pid)
    for _ in range(20):
        time.sleep(0.02)
        least = min(least, _descriptors(running.process.pid))
    return least


def _descriptors(pid: int) -> int:
    count = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += "/state" not in os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue  # it was closed meanwhile
    return count


def mounts_below(place: Path) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted(point for point in points if point.startswith(f"{place}/"))


def scratch_below(place: Path) -> list[str]:
    """Scratch files and directories, wherever they were made."""
    return [
        os.path.join(directory, name)
        for directory, directories, files in os.walk(place)
        for name in (*directories, *files)
        if name.lstrip(".").startswith(("smaxd-scratch-", "smaxd-secondary-", "smaxd-calibrate-"))
    ]


def written_by_fio(page: Page) -> float:
    return sum(value for _, value in page.samples("smaxd_written_bytes_total", purpose="fio"))


def state_is_sound(directory: Path, fio_bytes: float, kept: Collection[str] = ()) -> None:
    """Every file is whole and nothing lies beside; what fio wrote is on the account."""
    for path in directory.iterdir():
        if path.name in DECODERS and path.name not in kept:
            DECODERS[path.name](path.read_bytes())
        elif path.name == "history.db":
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as history:
                assert history.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        elif path.name == LOCK_NAME:
            assert path.read_bytes() == b""
        else:
            assert path.name in kept, f"{path} is no state file"
    accounts: tuple[WearAccount, ...] = ()
    if (directory / "wear.json").exists():
        accounts = wear_record.decode((directory / "wear.json").read_bytes()).accounts
    # A run that the stop ended on a busy host is still set aside: all of it will count.
    aside = [one for account in accounts for one in account.reservations if one.purpose == "fio"]
    settled = sum(account.totals.get("fio", 0) for account in accounts)
    assert settled + sum(one.size_bytes for one in aside) >= fio_bytes
