"""The composition root of the daemon: wires the parts together and decides nothing."""

import os
import queue
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

from agent import __version__
from agent.config import Config, config_hash, split_listen_address
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.http import HttpServer, application
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.learning.memory_file import MemoryFile, choose_state_directory
from agent.learning.memory_saver import MemorySaver
from agent.logs import logger_for
from agent.loop import Logger, Loop, Published
from agent.recording.recorder import Recorder, host_facts
from agent.recording.recording import RecordingHeader
from agent.schedule import STALE_AFTER_CADENCES
from agent.simulator import ChildProcessSimulator
from agent.watch_tools import WatchTools
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.rocksdb.secondary import remove_private_leftovers

LAST_TICK_SECONDS = 0.1
"""How long a tick under way may take to end; one that hangs is left behind."""

SIGNAL_LATENCY_SECONDS = 0.5
"""How late a signal may be noticed at worst; a shorter step would cost wake-ups for nothing."""

RECORDING_END_SECONDS = 0.3
"""How long the last ticks of a recording may take to be written."""

STATE_END_SECONDS = 0.3
"""How long the last saving of what was learned may take."""

CLEAN_UP_SECONDS = 0.7
"""How long ended programs' scratch files may take to go; the whole stop takes under 2 s."""


@dataclass(frozen=True, slots=True)
class RecordTo:
    """Where a recording goes, and how large it may become."""

    path: str
    limit_bytes: int


def host_state_for(config: Config, learning: Learning | None = None) -> HostState:
    """The decisions as they are wired in the daemon; a replay uses the same."""
    return HostState(
        version=__version__,
        config_hash=config_hash(config),
        tick_seconds=config.tick_seconds,
        phase_hold_seconds=config.phase.hold_seconds,
        capacity_max_age_seconds=STALE_AFTER_CADENCES * config.fio.interval_seconds,
        alerts=config.alerts,
        learning=learning or Learning(LearnedState()),
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


def _database_paths(config: Config) -> list[str]:
    return [path for database in config.databases for path in (database.path, *database.db_paths)]


def run_daemon(
    config: Config, environ: Mapping[str, str], record_to: RecordTo | None = None
) -> None:
    """Run until SIGTERM or SIGINT; ListenError when the address is taken, RecordError,
    StateDirectoryError."""
    log = logger_for(config.log)
    clock = SystemClock()
    runner = ProcessGroupRunner()
    private_parent = private_directory_parent(environ)
    remove_private_leftovers(private_parent)
    published = Published()
    host, port = split_listen_address(config.web.listen_address)
    server = HttpServer(application(published, clock), host, port)
    state_directory = choose_state_directory(config.state, environ, _database_paths(config))
    watch = HostWatch(WatchTools(config, clock, runner, private_parent, environ, state_directory))
    memory_file = MemoryFile(state_directory, log)
    learning = Learning(memory_file.load())
    saver = MemorySaver(learning, memory_file)
    recorder = None if record_to is None else _recorder(record_to, config, learning, clock, log)
    simulator_runner = ProcessGroupRunner()
    simulator = ChildProcessSimulator(simulator_runner)
    loop = Loop(
        watch,
        host_state_for(config, learning),
        published,
        clock,
        log,
        config.tick_seconds,
        simulator,
        recorder,
    )

    # A signal's handler runs between any two instructions of the main thread, so it may take no
    # lock that this thread could hold (the log's, an Event's); SimpleQueue.put is made for that.
    endings: queue.SimpleQueue[str] = queue.SimpleQueue()

    def end(number: int, _: FrameType | None) -> None:
        endings.put(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.start()
    if recorder is not None:
        recorder.start()
    log.info("started", version=__version__, address=server.address, pid=os.getpid())
    # The main thread does nothing but wait for a signal: a tick that hangs does not delay the end.
    ticking = threading.Thread(target=loop.run, args=(saver.after_tick,), name="loop", daemon=True)
    ticking.start()
    log.info("stopping", signal=_next_of(endings))
    loop.stop()
    # Programs first: they write to the disk; the listener only waits for readers.
    runner.stop()
    simulator_runner.stop()
    ticking.join(LAST_TICK_SECONDS)
    if recorder is not None:
        recorder.close(RECORDING_END_SECONDS)
    saver.close(clock.wall(), STATE_END_SECONDS)
    memory_file.close()
    watch.close(CLEAN_UP_SECONDS)
    server.stop()
    log.info("stopped")


def _next_of(endings: "queue.SimpleQueue[str]") -> str:
    """The next signal's name. Waits in steps: a signal that comes just before the wait, or to
    another thread, does not interrupt it, and its handler runs only when this thread does."""
    while True:
        try:
            return endings.get(timeout=SIGNAL_LATENCY_SECONDS)
        except queue.Empty:
            continue


def private_directory_parent(environ: Mapping[str, str]) -> str:
    """Where the secondary's private directories are made: the service's own, else temporary."""
    # Not tempfile.gettempdir(): it tries candidates by writing, down to the working directory,
    # which may be a database.
    candidates = (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], environ.get("TMPDIR", ""))
    return next((path for path in candidates if os.path.isabs(path)), "/tmp")  # noqa: S108 - a private directory is made in it
