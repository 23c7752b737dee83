"""Reading the configuration anew: what takes effect, what waits for a restart, what is refused."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from agent.config import (
    Config,
    ConfigError,
    DatabaseSettings,
    DiscoverySettings,
    FioSettings,
    LogSettings,
    WebSettings,
    config_hash,
)
from agent.loop import Logger
from agent.patience import Questions
from agent.reload import ConfigReload
from agent.reload_plan import ConfigLoad, databases_to_watch, plan_reload
from tests.unit.snapshots import WALL, FixedClock

ORDERS = DatabaseSettings(path="/srv/orders", name="orders")


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


class Daemon:
    """What a reload acts upon, and what it reads the configuration from."""

    def __init__(self, lines: LogCapture, state_directory: str | None = None) -> None:
        log: Logger = structlog.wrap_logger(None, processors=[lines])
        self.clock = FixedClock()
        self.applied: list[Config] = []
        self.apply: Callable[[Config], None] = self.applied.append
        self._read: Callable[[], Config] = Config
        self.reload = ConfigReload(
            Config(),
            self._read_file,
            self._apply,
            self.clock,
            log,
            state_directory,
            Questions(self.clock, patience_seconds=0.1),
        )

    def _apply(self, config: Config) -> None:
        self.apply(config)

    def _read_file(self) -> Config:
        return self._read()

    def reread(self, read: Callable[[], Config], after_seconds: float = 60.0) -> ConfigLoad:
        self.clock.now += after_seconds
        self._read = read
        self.reload.reload()
        return self.reload.last


def invalid() -> Config:
    raise ConfigError(["tick_seconds: must be a number", "fio.mode: unknown"])


def events(lines: LogCapture) -> list[str]:
    return [entry["event"] for entry in lines.entries]


def test_a_changed_setting_is_in_force_and_named() -> None:
    """By its key path, down to the single setting."""
    wanted = Config(fio=FioSettings(mode="accurate"), databases=(ORDERS,))

    plan = plan_reload(Config(), wanted)

    assert plan.config == wanted
    assert plan.changed == ("databases", "fio.mode")
    assert plan.needs_restart == ()


def test_what_is_used_at_the_start_only_waits_for_a_restart() -> None:
    """It is named, and what is in force, and its hash, are without it."""
    wanted = Config(
        tick_seconds=5.0,
        state="/srv/state",
        web=WebSettings("127.0.0.1:1"),
        log=LogSettings(level="debug", format="json"),
    )

    plan = plan_reload(Config(), wanted)

    assert plan.config == Config(tick_seconds=5.0)
    assert plan.changed == ("tick_seconds",)
    assert plan.needs_restart == ("state", "web.listen_address", "log.level", "log.format")


def test_the_first_reading_counts_as_a_success(lines: LogCapture) -> None:
    """The daemon would not run with an invalid one."""
    assert Daemon(lines).reload.last == ConfigLoad(True, WALL)


def test_a_valid_configuration_is_applied(lines: LogCapture) -> None:
    """The gauges say when, the log what."""
    daemon = Daemon(lines)
    last = daemon.reread(lambda: Config(databases=(ORDERS,)))

    assert daemon.applied == [Config(databases=(ORDERS,))]
    assert last == ConfigLoad(True, WALL + 60.0)
    assert lines.entries == [
        {
            "event": "config_reloaded",
            "log_level": "info",
            "hash": config_hash(Config(databases=(ORDERS,))),
            "changed": "databases",
        }
    ]


def test_an_invalid_one_changes_nothing_and_every_problem_is_logged(lines: LogCapture) -> None:
    """The time of the last success stays that of the start."""
    daemon = Daemon(lines)
    last = daemon.reread(invalid)

    assert daemon.applied == []
    assert daemon.reload.config == Config()
    assert last == ConfigLoad(False, WALL)
    assert [entry.get("problem") for entry in lines.entries] == [
        "tick_seconds: must be a number",
        "fio.mode: unknown",
        None,
    ]
    assert events(lines)[-1] == "config_not_reloaded"


def test_a_mended_one_is_a_success_again(lines: LogCapture) -> None:
    """Even when it is the one that was in force all the time."""
    daemon = Daemon(lines)
    daemon.reread(invalid)

    assert daemon.reread(Config) == ConfigLoad(True, WALL + 120.0)
    assert lines.entries[-1]["changed"] == "nothing"


def test_a_defect_in_reading_is_no_success_and_no_end(lines: LogCapture) -> None:
    """Its traceback goes to the log."""

    def odd() -> Config:
        raise ValueError("odd")

    daemon = Daemon(lines)
    assert daemon.reread(odd) == ConfigLoad(False, WALL)
    assert events(lines) == ["config_not_reloaded"]


def test_a_configuration_that_only_some_parts_can_take_is_taken_back_from_all(
    lines: LogCapture,
) -> None:
    """Otherwise gauge and hash would name one, and another would be in force."""
    daemon = Daemon(lines)
    in_force: list[Config] = []

    def apply(config: Config) -> None:
        in_force.append(config)
        if config.tick_seconds == 7.0:
            raise OSError("a part fails")

    daemon.apply = apply
    wanted = Config(tick_seconds=7.0)

    assert daemon.reread(lambda: wanted) == ConfigLoad(False, WALL)
    assert in_force == [wanted, Config()]
    assert daemon.reload.config == Config()
    assert events(lines) == ["config_not_reloaded"]


def test_settings_that_need_a_restart_are_told_of_each_time(lines: LogCapture) -> None:
    """For they are not in force yet."""
    daemon = Daemon(lines)
    for _ in range(2):
        daemon.reread(lambda: Config(state="/srv/state"))

    told = [e["settings"] for e in lines.entries if e["event"] == "config_needs_restart"]
    assert told == ["state", "state"]


def test_a_database_around_the_agents_own_state_is_refused(
    lines: LogCapture, tmp_path: Path
) -> None:
    """At the start another directory would be chosen; later none is written to in a database."""
    daemon = Daemon(lines, state_directory=str(tmp_path / "state"))
    last = daemon.reread(lambda: Config(databases=(DatabaseSettings(path=str(tmp_path)),)))

    assert not last.successful
    assert daemon.applied == []
    assert "state directory" in lines.entries[0]["problem"]


def test_a_state_directory_that_does_not_answer_keeps_no_reload(
    lines: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ticks would wait with it."""
    disk_answers = threading.Event()

    def hangs(*_: object) -> None:
        disk_answers.wait()

    monkeypatch.setattr("agent.patience.enclosing_database", hangs)
    daemon = Daemon(lines, state_directory="/srv/state")
    last = daemon.reread(lambda: Config(databases=(ORDERS,)))
    disk_answers.set()

    assert last.successful
    assert daemon.applied == [Config(databases=(ORDERS,))]


def test_configured_databases_are_the_ones_to_watch() -> None:
    """What was found before is watched no more."""
    found = {"/srv/other": True, "/srv/orders": True}
    assert databases_to_watch(Config(databases=(ORDERS,)), found) == (ORDERS,)


def test_running_ones_go_on_where_none_is_configured_any_more() -> None:
    """The search would find them again, without what is known of them."""
    found = {"/srv/orders": True, "/srv/idle": False}
    assert databases_to_watch(Config(), found) == (DatabaseSettings(path="/srv/orders"),)


def test_none_goes_on_where_there_is_no_search() -> None:
    """Neither configured nor to be found."""
    config = Config(discovery=DiscoverySettings(enabled=False))
    assert databases_to_watch(config, {"/srv/orders": True}) == ()
