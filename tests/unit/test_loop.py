"""The loop's ticks, and the lines it logs: one for each change, none for what stays."""

import dataclasses
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
import structlog
from structlog.testing import LogCapture

from agent.alerts.engine import AlertState
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.loop import ChangeLog, Logger, Loop, Published
from agent.probe_state import ProbeState
from agent.reload import ConfigReload
from agent.reload_plan import ConfigLoad
from agent.simulator import InlineSimulator
from agent.snapshot import Snapshot
from probes.clock import SystemClock
from tests.unit.model_inputs_samples import model_inputs
from tests.unit.snapshots import WALL, alerts, busy_database, snapshot


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


def logger(lines: LogCapture) -> Logger:
    return cast(Logger, structlog.wrap_logger(None, processors=[lines]))


def quiet() -> Snapshot:
    """A snapshot without anything to tell of."""
    return dataclasses.replace(snapshot(), databases=(), devices=(), probes=(), alerts=())


def with_probe(success: bool | None, reason: str | None, *, absent: bool = False) -> Snapshot:
    state = ProbeState("wal", "orders", success, absent, 0.1, WALL, reason, reason)
    return dataclasses.replace(quiet(), probes=(state,))


def with_incarnation(number: int) -> Snapshot:
    database = dataclasses.replace(busy_database(), incarnations=number)
    return dataclasses.replace(quiet(), databases=(database,))


def events(lines: LogCapture) -> list[str]:
    return [line["event"] for line in lines.entries]


def written(lines: LogCapture, *snapshots: Snapshot) -> list[str]:
    """The events that a series of snapshots gives."""
    log = ChangeLog(logger(lines))
    for one in snapshots:
        log.write(one)
    return events(lines)


def test_a_probe_that_works_is_not_mentioned(lines: LogCapture) -> None:
    """Nothing to tell of a probe that answers, nor of one that did not yet."""
    assert written(lines, with_probe(None, None), with_probe(True, None)) == []


def test_a_failing_probe_is_told_of_once(lines: LogCapture) -> None:
    """The line names probe, target, reason and detail, and is not repeated."""
    failing = with_probe(False, "broken")
    written(lines, with_probe(True, None), failing, failing, failing)

    assert lines.entries == [
        {
            "event": "probe_no_data",
            "log_level": "warning",
            "probe": "wal",
            "target": "orders",
            "reason": "broken",
            "detail": "broken",
        }
    ]


def test_a_probe_without_data_is_no_warning(lines: LogCapture) -> None:
    """What is normal is told at the level of normal things."""
    written(lines, with_probe(False, "no_wal", absent=True))

    assert [line["log_level"] for line in lines.entries] == ["info"]


def test_another_reason_is_another_line(lines: LogCapture) -> None:
    """And so is the recovery."""
    assert written(
        lines,
        with_probe(False, "broken"),
        with_probe(False, "gone"),
        with_probe(True, None),
        with_probe(True, None),
        with_probe(False, "broken"),
    ) == ["probe_no_data", "probe_no_data", "probe_recovered", "probe_no_data"]


def test_a_run_under_way_is_no_news(lines: LogCapture) -> None:
    """A probe set up anew is not a recovered one."""
    assert written(
        lines, with_probe(False, "broken"), with_probe(None, None), with_probe(False, "broken")
    ) == ["probe_no_data"]


def test_a_probe_that_is_not_there_any_more_is_forgotten(lines: LogCapture) -> None:
    """When it comes back it may be told of again."""
    failing = with_probe(False, "broken")

    assert written(lines, failing, quiet(), failing) == ["probe_no_data", "probe_no_data"]


def test_an_alert_of_before_a_restart_did_not_begin_now(lines: LogCapture) -> None:
    """The log of the run before told of its beginning."""
    active = next(state for state in alerts() if state.active)
    before = dataclasses.replace(quiet(), alerts=(active,))
    now = dataclasses.replace(active, since_wall_seconds=WALL)

    written(lines, before)
    written(lines, dataclasses.replace(quiet(), alerts=(now,)))

    assert events(lines) == ["alert_still_active", "alert_began"]


def test_an_alert_is_told_of_when_it_begins_and_when_it_ends(lines: LogCapture) -> None:
    """With the fields an operator needs, once each."""
    active = next(state for state in alerts() if state.active)
    over = dataclasses.replace(active, active=False)

    def having(state: AlertState) -> Snapshot:
        return dataclasses.replace(quiet(), alerts=(state,))

    told = written(lines, having(over), having(active), having(active), having(over), having(over))

    assert told == ["alert_began", "alert_ended"]
    assert tuple(lines.entries[0][key] for key in ("alert", "severity", "db")) == (
        "RocksdbWriteStopped",
        "critical",
        "orders",
    )


def test_saturation_is_told_of_when_it_begins_and_when_it_ends(lines: LogCapture) -> None:
    """With how many episodes have been learned from."""

    def saturated(*, now: bool) -> Snapshot:
        database = dataclasses.replace(busy_database(), saturated=now, episodes_total=3)
        return dataclasses.replace(quiet(), databases=(database,))

    told = written(
        lines, saturated(now=False), saturated(now=True), saturated(now=True), saturated(now=False)
    )

    assert [event for event in told if event.startswith("saturation")] == [
        "saturation_began",
        "saturation_ended",
    ]
    assert lines.entries[-1]["episodes"] == 3


def test_a_database_is_told_of_when_it_comes_changes_and_goes(lines: LogCapture) -> None:
    """The first incarnation, found after the database was there without one, is no change."""
    assert written(
        lines,
        with_incarnation(0),
        with_incarnation(1),
        with_incarnation(1),
        with_incarnation(2),
        quiet(),
        quiet(),
    ) == ["database_watched", "database_changed", "database_forgotten"]


def test_an_alert_of_a_database_that_comes_back_is_told_again(lines: LogCapture) -> None:
    """It went with its database; and of those that never come back nothing is kept."""
    active = next(state for state in alerts() if state.active)
    alerted = dataclasses.replace(quiet(), alerts=(active,))
    assert written(lines, quiet(), alerted, alerted, quiet(), alerted) == ["alert_began"] * 2


class ScriptedWatch:
    """Stands for the probes: each collection is the next step, an exception is raised."""

    def __init__(self, *steps: object) -> None:
        self._steps = list(steps)

    def collect(self) -> Any:
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def start_probes(self, runs: Any) -> None:
        assert runs == {}


class Passing:
    """Stands for the state: what was collected is the snapshot."""

    def advance(self, findings: Any) -> Any:
        return findings

    def take_simulated(self, database: str, answer: Any, at: float) -> None:
        pass

    def simulations_due(self, now: float) -> tuple[()]:
        return ()

    def probes_due(self) -> dict[str, Any]:
        return {}


def loop_of(
    lines: LogCapture,
    published: Published,
    *steps: object,
    simulator: InlineSimulator | None = None,
) -> Loop:
    return Loop(
        cast(HostWatch, ScriptedWatch(*steps)),
        cast(HostState, Passing()),
        published,
        SystemClock(),
        logger(lines),
        0.01,
        simulator or InlineSimulator(),
    )


def run_until_used_up(loop: Loop, count: int) -> list[Snapshot]:
    """Run until so many snapshots were published."""
    seen: list[Snapshot] = []

    def after(one: Snapshot) -> None:
        seen.append(one)
        if len(seen) == count:
            loop.stop()

    loop.run(after)
    return seen


def test_each_tick_publishes_its_snapshot(lines: LogCapture) -> None:
    """The latest one is what a reader gets."""
    first, second = quiet(), dataclasses.replace(quiet(), tick=43)
    published = Published()
    assert published.get() is None
    seen = run_until_used_up(loop_of(lines, published, first, second), 2)

    assert [first, second] == seen
    assert second == published.get()


def test_a_tick_that_fails_is_logged_and_the_next_one_runs(lines: LogCapture) -> None:
    """A defect costs one tick, and what was published stays."""
    published = Published()
    loop = loop_of(lines, published, quiet(), ValueError("odd"), quiet())

    assert len(run_until_used_up(loop, 2)) == 2
    assert events(lines) == ["tick_failed"]


def test_the_same_defect_is_logged_once_in_a_row(lines: LogCapture) -> None:
    """A traceback with every tick would fill the journal; another defect is news again."""
    loop = loop_of(lines, Published(), ValueError("a"), ValueError("a"), ValueError("b"), quiet())

    assert len(run_until_used_up(loop, 1)) == 1
    assert events(lines) == ["tick_failed", "tick_failed"]


def test_what_fails_after_a_tick_costs_nothing_but_itself(lines: LogCapture) -> None:
    """It is tried after each tick, told of once, and those after it have their turn."""
    loop = loop_of(lines, Published(), quiet(), quiet(), quiet())
    tried: list[Snapshot] = []
    seen: list[Snapshot] = []

    def keeps_failing(snapshot: Snapshot) -> None:
        tried.append(snapshot)
        raise OSError("odd")

    def works(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if len(seen) == 3:
            loop.stop()

    loop.run(keeps_failing, works)

    assert (len(tried), len(seen)) == (3, 3)
    assert events(lines) == ["part_failed"]
    assert lines.entries[0]["part"].endswith("keeps_failing")


def test_a_database_that_is_gone_is_one_line(lines: LogCapture) -> None:
    """Its other probes fail for the same reason."""
    gone = [
        ProbeState(probe, "orders", False, False, 0.1, WALL, "database_missing", "it is gone")
        for probe in ("options", "wal", "fingerprint", "log")
    ]
    before = dataclasses.replace(with_probe(True, None), databases=())

    assert written(lines, before, dataclasses.replace(before, probes=tuple(gone))) == [
        "probe_no_data"
    ]
    assert lines.entries[0]["probe"] == "fingerprint"


def test_a_loop_that_was_stopped_does_not_tick(lines: LogCapture) -> None:
    """Stopping before the start counts."""
    published = Published()
    loop = loop_of(lines, published, quiet())
    loop.stop()
    loop.run()

    assert published.get() is None


def test_the_simulator_forgets_databases_that_are_not_watched_any_more(lines: LogCapture) -> None:
    """Where they come and go, what was simulated of each would stay for ever."""
    watched = with_incarnation(1)
    (name,) = (database.name for database in watched.databases)
    simulator = InlineSimulator()
    for asked in (name, "gone"):
        simulator.submit(asked, model_inputs())
    run_until_used_up(loop_of(lines, Published(), watched, simulator=simulator), 1)
    assert list(simulator.answers()) == [name]


def test_stop_ends_the_wait_for_the_next_tick(lines: LogCapture) -> None:
    """The loop returns although the next tick is an hour away."""
    published = Published()
    ticked = threading.Event()
    loop = Loop(
        cast(HostWatch, ScriptedWatch(quiet())),
        cast(HostState, Passing()),
        published,
        SystemClock(),
        logger(lines),
        3600.0,
        InlineSimulator(),
    )
    thread = threading.Thread(target=loop.run, args=(lambda _: ticked.set(),), daemon=True)
    thread.start()
    assert ticked.wait(10)
    loop.stop()
    thread.join(10)

    assert not thread.is_alive()


class CountedReload:
    """Stands for the reading of the configuration."""

    def __init__(self) -> None:
        self.last = ConfigLoad(True, 1.0)
        self.count = 0
        self.apply: Callable[[], None] = lambda: None

    def reload(self) -> None:
        self.count += 1
        self.apply()
        self.last = ConfigLoad(False, 1.0)


def test_a_reload_is_done_between_ticks_and_published(lines: LogCapture) -> None:
    """Asked for during a tick it comes after it; the new cadence is in force from then on."""
    reload, published = CountedReload(), Published()
    loop = Loop(
        cast(HostWatch, ScriptedWatch(quiet(), quiet())),
        cast(HostState, Passing()),
        published,
        SystemClock(),
        logger(lines),
        3600.0,
        InlineSimulator(),
        reload=cast(ConfigReload, reload),
    )
    reload.apply = lambda: loop.pace(0.01)
    at_start = published.config_load
    counts: list[int] = []

    def after(_: Snapshot) -> None:
        counts.append(reload.count)
        loop.reload()
        loop.reload()
        if len(counts) == 2:
            loop.stop()

    loop.run(after)  # ends only if the second tick is no hour away any more

    assert at_start == ConfigLoad(True, 1.0)
    assert counts == [0, 1]
    assert published.config_load == ConfigLoad(False, 1.0)
