"""The composition root of the daemon: wires the parts together and decides nothing."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent import __version__, heap
from agent.alerts.book import AlertBook
from agent.alerts.handover import AlertHandover
from agent.config import Config, config_hash, split_listen_address
from agent.delivery.delivery import Delivery, DeliveryTools
from agent.delivery.wire import instance_of
from agent.export_control import ExportControl
from agent.host_state import HostSettings, HostState
from agent.host_watch import HostWatch
from agent.http import HttpServer, application
from agent.kept_state import keep_state
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.leftovers import remove_leftovers
from agent.logs import logger_for
from agent.loop import Logger, Loop, Published
from agent.patience import (
    PATIENCE_SECONDS,
    STATE_PATIENCE_SECONDS,
    Questions,
    real_paths,
    state_directory_in_time,
)
from agent.probing.settings import probing_settings
from agent.recording.recorder import Recorder, host_facts
from agent.recording.recording import RecordingHeader
from agent.reload import ConfigReload
from agent.restraint import Restraint
from agent.schedule import STALE_AFTER_CADENCES
from agent.self_limits import SelfLimits, restrained
from agent.signal_queue import SignalQueue, has_terminal
from agent.simulator import ChildProcessSimulator
from agent.snapshot import Snapshot
from agent.systemd import ServiceManager
from agent.watch_tools import WatchTools
from agent.wear.own_files import OwnFiles
from agent.web_file import WebFile
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.write_budget import WriteBudget

LAST_TICK_SECONDS = 0.1
"""How long a tick under way may take to end; one that hangs is left behind."""

RECORDING_PURPOSE = "recording"
TEXTFILE_PURPOSE = "textfile"
SECONDARY_PURPOSE = "secondary"
"""What the bytes of the agent's own files are charged as, beside what it keeps between runs."""

EXPORT_END_SECONDS = 0.2
"""How long the exports under way may take to end; the textfile is removed then."""

RECORDING_END_SECONDS = 0.3
"""How long the last ticks of a recording may take to be written."""

STATE_END_SECONDS = 0.3
"""How long the last saving of what was learned may take."""

DELIVERY_END_SECONDS = 0.5
"""How long attempts under way may take to end; the next run makes them again."""

CLEAN_UP_SECONDS = 0.7
"""How long ended programs' scratch files may take to go; the whole stop takes under 2 s."""


@dataclass(frozen=True, slots=True)
class RecordTo:
    """Where a recording goes, and how large it may become."""

    path: str
    limit_bytes: int


def host_state_for(
    config: Config,
    learning: Learning | None = None,
    state_directory: str | None = None,
    book: AlertBook | None = None,
) -> HostState:
    """The decisions as they are wired in the daemon; a replay uses the same."""
    return HostState(
        version=__version__,
        settings=_host_settings(config, state_directory),
        learning=learning or Learning(LearnedState()),
        book=book,
    )


def _host_settings(config: Config, state_directory: str | None, rarer: float = 1.0) -> HostSettings:
    return HostSettings(
        config_hash=config_hash(config),
        tick_seconds=config.tick_seconds,
        phase_hold_seconds=config.phase.hold_seconds,
        capacity_max_age_seconds=STALE_AFTER_CADENCES * config.fio.interval_seconds,
        alerts=config.alerts,
        alerting=config.alerting,
        probing=probing_settings(config.fio),
        rarer=rarer,
        state_directory=state_directory,
    )


def _recorder(
    record_to: RecordTo,
    config: Config,
    database_paths: list[str],
    learning: Learning,
    own_files: OwnFiles,
    clock: SystemClock,
    log: Logger,
) -> Recorder:
    wall = clock.wall()
    return Recorder(
        record_to.path,
        RecordingHeader(__version__, wall, config, host_facts(), learning.memory(wall)),
        log,
        own_files.budget(os.path.dirname(os.path.abspath(record_to.path)), RECORDING_PURPOSE),
        limit_bytes=record_to.limit_bytes,
        database_paths=database_paths,
    )


def _database_paths(config: Config) -> list[str]:
    return [path for database in config.databases for path in (database.path, *database.db_paths)]


def run_daemon(
    read_config: Callable[[], Config], environ: Mapping[str, str], record_to: RecordTo | None = None
) -> None:
    """Run until SIGTERM or SIGINT; ConfigError, ListenError when the address is taken, RecordError,
    StateDirectoryError. SIGHUP reads the configuration anew."""
    heap.keep_small()
    Daemon(read_config, environ, record_to).run()


class Daemon:
    """All parts, wired; nothing runs yet but what keeps the wear accounts."""

    def __init__(
        self,
        read_config: Callable[[], Config],
        environ: Mapping[str, str],
        record_to: RecordTo | None,
    ) -> None:
        # Under nohup the signal is ignored; a terminal that is closed does not end the daemon then.
        self._ends_with_terminal = (
            signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
        )
        self._signals = SignalQueue()
        self._signals.take(signal.SIGHUP)  # one that comes early must not end the start
        self._config = config = read_config()
        self._log = log = logger_for(config.log)
        self._clock = clock = SystemClock()
        self._runner = ProcessGroupRunner()
        private_parent = private_directory_parent(environ)
        questions = Questions(clock)
        remove_leftovers(config, environ, private_parent, questions)
        self._simulator_runner = ProcessGroupRunner()
        self._published = published = Published(self._children_cpu_seconds)

        host, port = split_listen_address(config.web.listen_address)
        web_file = config.web.config_file
        web = None if web_file is None else WebFile(web_file, log, clock)
        if web is not None:
            published.web_status = web.status
        self._server = HttpServer(application(published, clock), host, port, web=web, log=log)

        known = real_paths(_database_paths(config), questions)
        patient = Questions(clock, STATE_PATIENCE_SECONDS)
        state_path = state_directory_in_time(config.state, environ, known, patient, log)
        self._kept = kept = keep_state(state_path, config.history, clock, log)
        if kept.history is not None:
            published.history_status = kept.history.status
        self._recorder = recorder = (
            None
            if record_to is None
            else _recorder(record_to, config, known, kept.learning, kept.own_files, clock, log)
        )

        self._watch = HostWatch(
            WatchTools(
                config,
                clock,
                self._runner,
                private_parent,
                environ,
                state_path,
                kept.ledger,
                kept.own_files,
                kept.own_files.budget(private_parent, SECONDARY_PURPOSE),
            )
        )
        self._state = host_state_for(config, kept.learning, state_path, kept.book)
        instance = instance_of(
            host, split_listen_address(self._server.address)[1], socket.gethostname()
        )
        tools = DeliveryTools(
            clock, log, environ, instance, self._runner, lambda: published.scrapes
        )
        self._delivery = Delivery(config.alerting.delivery, tools, kept.delivery_file)
        published.delivery_status = self._delivery.status
        self._handover = AlertHandover(self._state, kept.book_saver, log, self._delivery)
        self._exports = ExportControl(
            published, clock, log, environ, self._server.address, self._textfile_budget
        )
        published.export_statuses = self._exports.status

        self._restraint = Restraint(SelfLimits())
        self._restrained_to = self._restraint.degradation.level
        self._reload = ConfigReload(
            config, read_config, self._apply, clock, log, state_path, questions
        )
        self._loop = Loop(
            self._watch,
            self._state,
            published,
            clock,
            log,
            config.tick_seconds,
            ChildProcessSimulator(self._simulator_runner),
            recorder,
            self._reload,
        )
        self._manager = ServiceManager(environ, log)

    def run(self) -> None:
        """Until a signal ends it. RecordError."""
        self._signals.take(signal.SIGTERM, signal.SIGINT)
        self._manager.starting(self._config.probe_timeout_seconds)
        if self._recorder is not None:
            self._recorder.start(PATIENCE_SECONDS)
        self._server.start()
        self._exports.configure(self._config.textfile, self._config.otlp)
        address = self._server.address
        self._log.info("started", version=__version__, address=address, pid=os.getpid())
        after_tick: list[Callable[[Snapshot], None]] = [
            self._kept.memory_saver.after_tick,
            self._handover.after_tick,
        ]
        if self._kept.history is not None:
            after_tick.append(self._kept.history.after_tick)
        after_tick.append(self._restrain)
        ticking = threading.Thread(target=self._loop.run, args=after_tick, name="loop", daemon=True)
        ticking.start()
        try:
            self._reload_until_the_end()
        finally:
            self._stop(ticking)
        self._log.info("stopped")

    def _reload_until_the_end(self) -> None:
        """The main thread does nothing but wait for a signal: a tick that hangs does not delay the
        end."""
        while (caught := self._signals.wait(self._tell_manager)) is signal.SIGHUP:
            # A terminal that is closed sends it, too, to what runs in it: that is an end.
            if self._ends_with_terminal and not has_terminal():
                break
            self._manager.reloading(self._published, self._clock.monotonic())
            self._loop.reload()
        self._manager.stopping()
        self._log.info("stopping", signal=caught.name)

    def _children_cpu_seconds(self) -> dict[str, float]:
        return {**self._runner.cpu_seconds(), **self._simulator_runner.cpu_seconds()}

    def _textfile_budget(self, path: str) -> WriteBudget:
        return self._kept.own_files.budget(os.path.dirname(path), TEXTFILE_PURPOSE)

    def _apply(self, wanted: Config) -> None:
        """Let a configuration take effect, as far as the agent's own limits allow."""
        in_force = restrained(wanted, self._restraint.degradation)
        self._watch.configure(in_force)
        rarer = self._restraint.degradation.children_factor
        settings = _host_settings(in_force, self._kept.directory.path, rarer)
        self._state.configure(replace(settings, config_hash=config_hash(wanted)))
        self._loop.pace(in_force.tick_seconds)
        self._delivery.configure(in_force.alerting.delivery)
        self._exports.configure(in_force.textfile, in_force.otlp)
        if self._kept.history is not None:
            self._kept.history.configure(in_force.history)

    def _restrain(self, snapshot: Snapshot) -> None:
        """Do less once the agent itself takes more than it may."""
        changed = self._restraint.look(snapshot.at)
        degradation = self._restraint.degradation
        if changed:
            self._published.degradation = degradation
            self._log.warning(
                "restraint",
                level=degradation.level.name.lower(),
                reason=degradation.reason,
                detail=degradation.detail,
            )
        if degradation.level is not self._restrained_to:
            self._apply(self._reload.config)
            self._restrained_to = degradation.level

    def _tell_manager(self) -> None:
        self._manager.look(
            self._published,
            self._clock.monotonic(),
            serving=self._server.serving,
            probe_timeout_seconds=self._reload.config.probe_timeout_seconds,
        )

    def _stop(self, ticking: threading.Thread) -> None:
        """End all parts; one that fails to end costs only what it had still to do."""
        kept = self._kept
        steps: list[Callable[[], object]] = [
            self._loop.stop,
            self._delivery.retire,
            # Programs first: they write to the disk; the listener only waits for readers.
            self._runner.stop,
            self._simulator_runner.stop,
            lambda: ticking.join(LAST_TICK_SECONDS),
            lambda: self._exports.stop(EXPORT_END_SECONDS),
            lambda: None if self._recorder is None else self._recorder.close(RECORDING_END_SECONDS),
            lambda: None if kept.history is None else kept.history.close(STATE_END_SECONDS),
            lambda: kept.memory_saver.close(self._clock.wall(), STATE_END_SECONDS),
            lambda: self._delivery.close(DELIVERY_END_SECONDS),
            lambda: self._handover.close(STATE_END_SECONDS),
            lambda: self._watch.close(CLEAN_UP_SECONDS),
            kept.own_files.close,
            lambda: kept.ledger.close(STATE_END_SECONDS),
            kept.directory.close,
            self._server.stop,
        ]
        for step in steps:
            try:
                step()
            except Exception:  # a defect: the steps that are left matter more
                self._log.exception("stop_failed")


def private_directory_parent(environ: Mapping[str, str]) -> str:
    """Where the secondary's private directories are made: the service's own, else temporary."""
    # Not tempfile.gettempdir(): it tries candidates by writing, down to the working directory,
    # which may be a database.
    candidates = (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], environ.get("TMPDIR", ""))
    return next((path for path in candidates if os.path.isabs(path)), "/tmp")  # noqa: S108 - a private directory is made in it
