"""State files that no version of the program wrote: named, kept aside, never used, never fatal."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import Daemon, daemon, workplace, write_config
from tests.integration.demands import demands
from tests.integration.faults import eventually, failed_with

pytestmark = pytest.mark.slow
NO_PROGRAMS = "fio: {enabled: false}\nsecondary: {enabled: false}\n"
QUIET = (
    NO_PROGRAMS + "alerting: {delivery: {mode: always, webhooks: [{url: 'http://127.0.0.1:9'}]}}\n"
)
"""There is nothing to deliver, but what was delivered is looked up."""


@pytest.fixture
def place() -> Iterator[Path]:
    with workplace() as path:
        (path / "home/state").mkdir(parents=True)
        yield path


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(b'{"version":1,"saved_wall_seconds":17'),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 16),
    "another version": lambda path: path.write_bytes(b'{"version":4711,"devices":[]}'),
    "another type": lambda path: path.write_bytes(b"[1, 2, 3]"),
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to("/dev/zero"),
}


FILES = ("learned.json", "wear.json", "alerts.json", "delivery.json", "history.db")
"""What the daemon keeps itself, and sets aside where it cannot be understood."""

ORDERS = {
    "pause.json": ("pause", "pause_unusable"),
    "alert-orders.json": ("alert_orders", "orders_unusable"),
    "calibrate-0123456789abcdef.json": ("calibration", "calibration_unusable"),
}
"""What commands leave for it: the probe that reads it, and how that fails. Not ours to move."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_state_that_cannot_be_understood_is_set_aside_and_the_daemon_begins_afresh(
    place: Path, database: Path, damage: str
) -> None:
    """All of it at once, and each file named once; the next start finds what this one kept."""
    state = place / "home/state"
    for name in (*FILES, *ORDERS):
        DAMAGES[damage](state / name)
    # SQLite takes an empty file for a new one.
    damaged = [name for name in FILES if (damage, name) != ("empty", "history.db")]
    aside = [f"{name}.damaged" for name in damaged]
    kept = (*aside, *ORDERS)
    words = ("--config", write_config(place, QUIET), "--db", str(database))
    with (
        daemon(place, *words) as running,
        demands(running, place, database, kept=kept),
    ):
        running.wait_until(
            lambda _: all(failed_with(running, *failure) for failure in ORDERS.values()),
            "the files of commands are named",
        )
        eventually(
            lambda: warned(running, (*damaged, *ORDERS)) == dict.fromkeys((*damaged, *ORDERS), 1),
            "each file is named once",
        )
        budgets = [
            device["quantities"]["wear_budget_remaining_bytes"]["reason"]
            for device in running.status()["devices"]
        ]
    with daemon(place, *words) as running, demands(running, place, database, kept=kept):
        again = warned(running, FILES)

    assert set(budgets) == {"wear_history_lost"}
    assert again == dict.fromkeys(FILES, 0)
    assert [name for name in aside if not os.path.lexists(state / name)] == []


def warned(running: Daemon, names: Iterable[str]) -> dict[str, int]:
    """How many warnings name each of these files."""
    lines = [one for one in running.log_file.read_text().splitlines() if "level=warning" in one]
    return {name: sum(f"/{name}" in line for line in lines) for name in names}


def test_a_later_start_finds_its_own_state_again(place: Path, database: Path) -> None:
    """Setting aside is done once; what was set aside is still there to be looked at."""
    learned = place / "home/state/learned.json"
    learned.write_bytes(b"half a fi")
    words = ("--config", write_config(place, NO_PROGRAMS), "--db", str(database))
    for _ in range(2):
        with (
            daemon(place, *words) as running,
            demands(running, place, database, kept=["learned.json.damaged"]),
        ):
            pass

    assert "state_unusable" not in running.log_file.read_text()
    assert (learned.parent / "learned.json.damaged").read_bytes() == b"half a fi"
