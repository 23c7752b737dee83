"""A state directory that fails under the running daemon: in the end it keeps all that it had to.

What was learned, the wear account, the alerts and what was told of them: nothing of it can be
saved, while fio runs and an alert begins. The daemon says so and goes on, tells of the alert all
the same, saves everything once it can, and the next one begins where this one ended.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.daemon import (
    Daemon,
    Page,
    daemon,
    processes_naming,
    write_config,
    writing,
)
from tests.integration.demands import demands, written_by_fio
from tests.integration.failing_disk import FailingDisk, failing_disk
from tests.integration.faults import (
    CALM,
    eventually,
    finished_database,
    needs_fio,
    needs_root,
    ticks,
)
from tests.integration.test_harmless import NOBODY, nobody
from tests.integration.volume import Volume, mounted_volume, needs_volumes
from tests.unit.http_receiver import Receiver, receiving

pytestmark = pytest.mark.long

ALERT = "SmaxProbeFailing"
FILES = ("learned.json", "alerts.json", "delivery.json")
"""What is saved when it changes; wear.json has events of its own."""

SLOW_FIO = "fio: {size_mib: 16, runtime_seconds: 4, rate_mib_per_second: 4, interval_seconds: 3600}"
"""Four seconds, in which something can happen, and then the first thing worth remembering."""

CONFIG = """
secondary: {{enabled: false}}
{fio}
alerts: {{probe_failing: {{threshold: 1, clear: 0, for_seconds: 0}}}}
alerting:
  group_wait_seconds: 0
  cooldown_seconds: 0
  delivery: {{mode: always, webhooks: [{{url: '{url}'}}]}}
"""

OFTEN_SAVING = """#!{python}
import sys
from agent import state_file
from agent.delivery import record_file
from agent.wear import ledger
{calm}
state_file.SAVE_SECONDS /= 120
record_file.RETRY_SECONDS /= 120
ledger.SAVE_SECONDS /= 120
sys.argv[:3] = ["smaxd"]
from agent.cli import main
main()
"""
"""The daemon as it is, but that it finds its host calm, so that fio runs at once, and tries again
at once, not in a minute, to save what it could not."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def often_saving(place: Path, python: str = sys.executable) -> str:
    program = place / "often-saving"
    program.write_text(OFTEN_SAVING.format(python=python, calm=CALM))
    program.chmod(0o755)
    return str(program)


def break_log(database: Path) -> None:
    """Make the LOG of a closed database a pipe, which its probe cannot read."""
    (database / "LOG").rename(database / "LOG.away")
    os.mkfifo(database / "LOG")


def told(receiver: Receiver, database: Path) -> list[str]:
    """The status of the database's alert in every request that told of it."""
    return [
        alert["status"]
        for request in list(receiver.requests)
        for alert in request.json["alerts"]
        if (alert["labels"]["alertname"], alert["labels"].get("db")) == (ALERT, str(database))
    ]


def fio_under_way(place: Path) -> bool:
    return any(command.startswith("fio ") for command in processes_naming(str(place)))


def said_of(running: Daemon, event: str) -> list[str]:
    """The names of the files that these lines are about, in the order of names."""
    lines = running.events(event)
    return sorted(name for name in FILES for line in lines if f"/{name}" in line)


def all_is_unsaved(running: Daemon, *whys: str) -> None:
    """Wait until each file was told of, in these words."""
    eventually(
        lambda: (
            said_of(running, "state_not_saved") == sorted(FILES)
            and len(running.events("wear_budget_not_kept")) == 1
        ),
        "all that cannot be saved is named",
    )
    lines = running.events("state_not_saved") + running.events("wear_budget_not_kept")
    assert [line for line in lines if not any(why in line for why in whys)] == []


def all_is_saved(running: Daemon) -> None:
    """Wait until each file was told of as saved again, and that it could not be only once."""
    eventually(
        lambda: (
            said_of(running, "state_saved_again") == sorted(FILES)
            and len(running.events("wear_budget_kept_again")) == 1
        ),
        "all is saved again",
    )
    assert said_of(running, "state_not_saved") == sorted(FILES)


def spends_nothing(page: Page) -> bool:
    """Whether fio must not run because what it writes could not be put on record."""
    return bool(page.samples("smaxd_fio_gate_closed", reason="budget_not_kept"))


@dataclass(frozen=True)
class Broken:
    """One way to break a state directory, what the daemon says of it, and how to mend it."""

    do: Callable[[Path, Volume, Path], object]
    says: str
    undo: Callable[[Path, Volume, Path], object]
    on: Callable[[Path], AbstractContextManager[Volume]] = mounted_volume
    config: str = ""


def failing(volume: Volume) -> FailingDisk:
    assert isinstance(volume, FailingDisk)
    return volume


def exchange(state: Path, database: Path) -> None:
    shutil.move(state, f"{state}.away")
    state.symlink_to(database)


def exchange_back(state: Path) -> None:
    state.unlink()
    shutil.move(f"{state}.away", state)


FAULTS = {
    "full": Broken(
        lambda state, volume, _: volume.fill(),
        "No space left on device",
        lambda state, volume, _: volume.make_room(),
    ),
    "read-only": Broken(
        lambda state, volume, _: volume.protect(),
        "Read-only file system",
        lambda state, volume, _: volume.unprotect(),
        # Whoever has a file open for writing, as the history has, keeps it from being remounted.
        config="history: {enabled: false}\n",
    ),
    "errors": Broken(
        lambda state, volume, _: failing(volume).fail(),
        "Input/output error",
        lambda state, volume, _: failing(volume).heal(),
        on=failing_disk,
    ),
    "removed": Broken(
        lambda state, volume, _: shutil.rmtree(state),
        "No such file or directory",
        lambda state, volume, _: state.mkdir(),
    ),
    "link-into-the-database": Broken(
        lambda state, volume, database: exchange(state, database),
        "now lies in the database",
        lambda state, volume, _: exchange_back(state),
    ),
}


@needs_fio
@needs_volumes
@pytest.mark.parametrize("name", FAULTS)
def test_all_that_is_kept_is_saved_once_the_state_directory_is_well_again(
    place: Path, receiver: Receiver, name: str
) -> None:
    """Said once in the log; no half file, nothing in the database, no number missed meanwhile."""
    fault, database, second = FAULTS[name], place / "db", place / "second"
    finished_database(second)
    text = CONFIG.format(fio=SLOW_FIO, url=receiver.url) + fault.config
    scratch = place / "scratch"
    scratch.mkdir()
    with fault.on(place) as volume, writing(database):
        state = volume.path / "state"
        state.mkdir(mode=0o700)
        words = (
            *("--config", write_config(place, text), "--db", str(database), "--db", str(second)),
            *("--state", str(state), "--scratch", str(scratch)),
        )
        with (
            daemon(place, *words, python=often_saving(place)) as running,
            demands(running, place, database, state=state) as demanded,
        ):
            running.wait_until(lambda _: fio_under_way(place), "fio is running")
            fault.do(state, volume, database)
            break_log(second)
            eventually(lambda: told(receiver, second), "the alert is told of")
            all_is_unsaved(running, fault.says)
            running.wait_until(spends_nothing, "the gate of fio is closed")
            demanded.others_go_on()
            eventually(lambda: not list(state.glob(".*.new")), "no half file stays")
            strangers = sorted({path.name for path in database.iterdir()} & {*FILES, "wear.json"})
            fault.undo(state, volume, database)
            all_is_saved(running)
            running.wait_until(lambda page: not spends_nothing(page), "the gate is open again")
            before = written_by_fio(running.page())
        write_config(place, CONFIG.format(fio="fio: {enabled: false}", url=receiver.url))
        with daemon(place, *words) as following, demands(following, place, database, state=state):
            page = following.wait_until(
                lambda page: (
                    page.value("smax_alert_active", db=str(second), alert=ALERT) and ticks(page) > 5
                ),
                "the alert goes on",
            )

    assert strangers == []
    assert told(receiver, second) == ["firing"], "the next one does not tell it again"
    assert written_by_fio(page) == before > 0.0
    assert len(following.events("state_loaded")) == len(FILES)


@needs_fio
@needs_root
def test_a_state_directory_that_becomes_unwritable_is_used_again_once_it_is_not(
    place: Path,
) -> None:
    """As a user whom permissions stop, which root they do not."""
    database, state, scratch = place / "db", place / "state", place / "scratch"
    for directory in (state, scratch):
        directory.mkdir()
        os.chown(directory, NOBODY, NOBODY)
    words = (
        *("--config", write_config(place, f"secondary: {{enabled: false}}\n{SLOW_FIO}\n")),
        *("--db", str(database), "--state", str(state), "--scratch", str(scratch)),
    )
    with (
        nobody(place) as agent,
        writing(database),
        daemon(
            place,
            *words,
            python=often_saving(place, agent.python),
            user=NOBODY,
            PYTHONPATH=f"{agent.source}:{agent.packages}",
            LD_LIBRARY_PATH=str(Path(agent.python).parents[1] / "lib"),
        ) as running,
        demands(running, place, database, state=state) as demanded,
    ):
        running.wait_until(lambda _: fio_under_way(place), "fio is running")
        state.chmod(0o500)
        eventually(lambda: running.events("state_not_saved"), "it is said")
        said = running.events("state_not_saved")
        demanded.others_go_on()
        state.chmod(0o700)
        eventually(lambda: running.events("state_saved_again"), "it is saved")

    assert "Permission denied" in said[0]
