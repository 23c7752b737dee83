"""The composition root of the daemon: wires the parts together and decides nothing."""

import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import FrameType

from agent import __version__
from agent.alerts.book import AlertBook
from agent.alerts.book_file import BookFile, BookSaver
from agent.alerts.handover import AlertHandover
from agent.config import Config, config_hash, split_listen_address
from agent.delivery.delivery import Delivery, DeliveryTools
from agent.delivery.record_file import RecordFile
from agent.delivery.wire import instance_of
from agent.export_control import ExportControl
from agent.history.recorder import HistoryRecorder, wear_refusal
from agent.host_state import HostSettings, HostState
from agent.host_watch import HostWatch
from agent.http import HttpServer, application
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.learning.memory_file import MemoryFile
from agent.learning.memory_saver import MemorySaver
from agent.logs import logger_for
from agent.loop import Logger, Loop, Published
from agent.probing.settings import probing_settings
from agent.recording.recorder import Recorder, host_facts
from agent.recording.recording import RecordingHeader
from agent.reload import ConfigReload
from agent.restraint import Restraint
from agent.schedule import STALE_AFTER_CADENCES
from agent.self_limits import SelfLimits, restrained
from agent.simulator import ChildProcessSimulator
from agent.snapshot import Snapshot
from agent.state_directory import StateDirectory, choose_state_directory
from agent.systemd import ServiceManager
from agent.watch_tools import WatchTools
from agent.wear.ledger import WearLedger
from agent.wear.own_files import OwnFiles
from agent.web_file import WebFile
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.rocksdb.secondary import remove_private_leftovers
from probes.scratch import default_candidates, remove_scratch_leftovers

LAST_TICK_SECONDS = 0.1
"""How long a tick under way may take to end; one that hangs is left behind."""

SIGNAL_LATENCY_SECONDS = 0.5
"""How late a signal may be noticed at worst; a shorter step would cost wake-ups for nothing."""

STATE_PURPOSE = "state"
RECORDING_PURPOSE = "recording"
HISTORY_PURPOSE = "history"
TEXTFILE_PURPOSE = "textfile"
"""What the bytes of the agent's own files are charged as."""

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
    record_to: RecordTo, config: Config, learning: Learning, clock: SystemClock, log: Logger
) -> Recorder:
    wall = clock.wall()
    return Recorder(
        record_to.path,
        RecordingHeader(__version__, wall, config, host_facts(), learning.memory(wall)),
        log,
        limit_bytes=record_to.limit_bytes,
        database_paths=_database_paths(config),
    )


def _history(
    config: Config,
    directory: StateDirectory,
    ledger: WearLedger,
    own_files: OwnFiles,
    log: Logger,
) -> HistoryRecorder | None:
    """None where nothing is kept on disk."""
    if directory.path is None:
        return None
    carrier = own_files.add(directory.path, HISTORY_PURPOSE, lambda: history.written_bytes)
    history = HistoryRecorder(
        directory,
        log,
        lambda: None if carrier is None else wear_refusal(ledger.view(), carrier.key),
        config.history,
    )
    return history


def _database_paths(config: Config) -> list[str]:
    return [path for database in config.databases for path in (database.path, *database.db_paths)]


def _scratch_parents(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Where scratch files of an earlier run may lie."""
    candidates = [default_candidates(path, environ) for path in ("/", *_database_paths(config))]
    named = () if config.scratch is None else (config.scratch,)
    return list(dict.fromkeys((*named, *(path for paths in candidates for path in paths))))


def run_daemon(
    read_config: Callable[[], Config], environ: Mapping[str, str], record_to: RecordTo | None = None
) -> None:
    """Run until SIGTERM or SIGINT; ConfigError, ListenError when the address is taken, RecordError,
    StateDirectoryError. SIGHUP reads the configuration anew."""
    config = read_config()
    log = logger_for(config.log)
    clock = SystemClock()
    runner = ProcessGroupRunner()
    private_parent = private_directory_parent(environ)
    remove_private_leftovers(private_parent)
    remove_scratch_leftovers(_scratch_parents(config, environ))
    simulator_runner = ProcessGroupRunner()
    published = Published(lambda: {**runner.cpu_seconds(), **simulator_runner.cpu_seconds()})
    host, port = split_listen_address(config.web.listen_address)
    web_file = config.web.config_file
    web = None if web_file is None else WebFile(web_file, log, clock)
    if web is not None:
        published.web_status = web.status
    server = HttpServer(application(published, clock), host, port, web=web)
    state_directory = StateDirectory(
        choose_state_directory(config.state, environ, _database_paths(config))
    )
    memory_file = MemoryFile(state_directory, log)
    learning = Learning(memory_file.load())
    saver = MemorySaver(learning, memory_file)
    book_file = BookFile(state_directory, log)
    book = book_file.load()
    delivery_file = RecordFile(state_directory, log)
    recorder = None if record_to is None else _recorder(record_to, config, learning, clock, log)
    ledger = WearLedger(state_directory, log)
    ledger.start()
    own_files = OwnFiles(ledger, clock)
    carrier = own_files.add(
        state_directory.path,
        STATE_PURPOSE,
        lambda: memory_file.written_bytes + book_file.written_bytes + delivery_file.written_bytes,
    )
    if carrier is not None:
        ledger.keeps_its_file_on(carrier.key)
    if recorder is not None and record_to is not None:
        place = os.path.dirname(os.path.abspath(record_to.path))
        own_files.add(place, RECORDING_PURPOSE, lambda: recorder.written_bytes)
    history = _history(config, state_directory, ledger, own_files, log)
    if history is not None:
        published.history_status = history.status
    watch = HostWatch(
        WatchTools(
            config,
            clock,
            runner,
            private_parent,
            environ,
            state_directory.path,
            ledger,
            own_files.names(),
        )
    )
    simulator = ChildProcessSimulator(simulator_runner)
    state = host_state_for(config, learning, state_directory.path, book)
    instance = instance_of(host, split_listen_address(server.address)[1], socket.gethostname())
    tools = DeliveryTools(clock, log, environ, instance, runner, lambda: published.scrapes)
    delivery = Delivery(config.alerting.delivery, tools, delivery_file)
    published.delivery_status = delivery.status
    handover = AlertHandover(state, BookSaver(book_file, book.revision), log, delivery)
    exports = ExportControl(
        published,
        clock,
        log,
        environ,
        server.address,
        lambda textfile: own_files.add(
            os.path.dirname(textfile.path), TEXTFILE_PURPOSE, lambda: textfile.written_bytes
        ),
    )
    published.export_statuses = exports.status

    restraint = Restraint(SelfLimits())

    def apply(wanted: Config) -> None:
        in_force = restrained(wanted, restraint.degradation)
        watch.configure(in_force)
        rarer = restraint.degradation.children_factor
        settings = _host_settings(in_force, state_directory.path, rarer)
        state.configure(replace(settings, config_hash=config_hash(wanted)))
        loop.pace(in_force.tick_seconds)
        delivery.configure(in_force.alerting.delivery)
        exports.configure(in_force.textfile, in_force.otlp)
        if history is not None:
            history.configure(in_force.history)

    reload = ConfigReload(config, read_config, apply, clock, log, state_directory.path)
    loop = Loop(
        watch, state, published, clock, log, config.tick_seconds, simulator, recorder, reload
    )

    # A signal's handler runs between any two instructions of the main thread, so it may take no
    # lock that this thread could hold (the log's, an Event's); SimpleQueue.put is made for that.
    signals: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()

    def take(number: int, _: FrameType | None) -> None:
        signals.put(signal.Signals(number))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, take)
    on_terminal = sys.stderr.isatty()
    manager = ServiceManager(environ, log)
    manager.starting(config.probe_timeout_seconds)
    server.start()
    if recorder is not None:
        recorder.start()
    exports.configure(config.textfile, config.otlp)
    log.info("started", version=__version__, address=server.address, pid=os.getpid())

    # The main thread does nothing but wait for a signal: a tick that hangs does not delay the end.
    def after_tick(snapshot: Snapshot) -> None:
        saver.after_tick(snapshot)
        handover.after_tick(snapshot)
        if history is not None:
            history.after_tick(snapshot)
        own_files.charge()
        if restraint.look(snapshot.at):
            published.degradation = restraint.degradation
            log.warning(
                "restraint",
                level=restraint.degradation.level.name.lower(),
                reason=restraint.degradation.reason,
                detail=restraint.degradation.detail,
            )
            apply(reload.config)

    ticking = threading.Thread(target=loop.run, args=(after_tick,), name="loop", daemon=True)
    ticking.start()

    def tell_manager() -> None:
        timeout = reload.config.probe_timeout_seconds
        now = clock.monotonic()
        manager.look(published, now, serving=server.serving, probe_timeout_seconds=timeout)

    # A terminal that is closed sends SIGHUP, too, to what runs in it: that is an end.
    while (
        caught := _next_of(signals, tell_manager)
    ) is signal.SIGHUP and on_terminal == sys.stderr.isatty():
        manager.reloading(published, clock.monotonic())
        loop.reload()
    manager.stopping()
    log.info("stopping", signal=caught.name)
    loop.stop()
    # Programs first: they write to the disk; the listener only waits for readers.
    runner.stop()
    simulator_runner.stop()
    ticking.join(LAST_TICK_SECONDS)
    exports.stop(EXPORT_END_SECONDS)
    if recorder is not None:
        recorder.close(RECORDING_END_SECONDS)
    if history is not None:
        history.close(STATE_END_SECONDS)
    saver.close(clock.wall(), STATE_END_SECONDS)
    delivery.close(DELIVERY_END_SECONDS)
    handover.close(STATE_END_SECONDS)
    watch.close(CLEAN_UP_SECONDS)
    own_files.charge()
    ledger.close(STATE_END_SECONDS)
    state_directory.close()
    server.stop()
    log.info("stopped")


def _next_of(
    signals: "queue.SimpleQueue[signal.Signals]", meanwhile: Callable[[], None]
) -> signal.Signals:
    """The next signal. Waits in steps: a signal that comes just before the wait, or to
    another thread, does not interrupt it, and its handler runs only when this thread does.
    Calls ``meanwhile`` before each step."""
    while True:
        meanwhile()
        try:
            return signals.get(timeout=SIGNAL_LATENCY_SECONDS)
        except queue.Empty:
            continue


def private_directory_parent(environ: Mapping[str, str]) -> str:
    """Where the secondary's private directories are made: the service's own, else temporary."""
    # Not tempfile.gettempdir(): it tries candidates by writing, down to the working directory,
    # which may be a database.
    candidates = (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], environ.get("TMPDIR", ""))
    return next((path for path in candidates if os.path.isabs(path)), "/tmp")  # noqa: S108 - a private directory is made in it
