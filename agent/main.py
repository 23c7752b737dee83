"""The composition root of the daemon: wires the parts together and decides nothing."""

import os
import queue
import signal
import threading
from collections.abc import Mapping
from types import FrameType

from agent import __version__
from agent.config import Config, config_hash, split_listen_address
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.http import HttpServer, application
from agent.logs import logger_for
from agent.loop import Loop, Published
from agent.schedule import STALE_AFTER_CADENCES
from agent.watch_tools import WatchTools
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.rocksdb.secondary import remove_private_leftovers

LAST_TICK_SECONDS = 0.1
"""How long a tick under way may take to end; one that hangs is left behind."""

SIGNAL_LATENCY_SECONDS = 0.5
"""How late a signal may be noticed at worst; a shorter step would cost wake-ups for nothing."""

CLEAN_UP_SECONDS = 0.7
"""How long ended programs' scratch files may take to go; the whole stop takes under 2 s."""


def run_daemon(config: Config, environ: Mapping[str, str]) -> None:
    """Run until SIGTERM or SIGINT; ListenError when the address is taken."""
    log = logger_for(config.log)
    clock = SystemClock()
    runner = ProcessGroupRunner()
    private_parent = private_directory_parent(environ)
    remove_private_leftovers(private_parent)
    published = Published()
    host, port = split_listen_address(config.web.listen_address)
    server = HttpServer(application(published, clock), host, port)
    watch = HostWatch(WatchTools(config, clock, runner, private_parent, environ))
    loop = Loop(
        watch,
        HostState(
            version=__version__,
            config_hash=config_hash(config),
            tick_seconds=config.tick_seconds,
            phase_hold_seconds=config.phase.hold_seconds,
            capacity_max_age_seconds=STALE_AFTER_CADENCES * config.fio.interval_seconds,
            alerts=config.alerts,
        ),
        published,
        clock,
        log,
        config.tick_seconds,
    )

    # A signal's handler runs between any two instructions of the main thread, so it may take no
    # lock that this thread could hold (the log's, an Event's); SimpleQueue.put is made for that.
    endings: queue.SimpleQueue[str] = queue.SimpleQueue()

    def end(number: int, _: FrameType | None) -> None:
        endings.put(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.start()
    log.info("started", version=__version__, address=server.address, pid=os.getpid())
    # The main thread does nothing but wait for a signal: a tick that hangs does not delay the end.
    ticking = threading.Thread(target=loop.run, name="loop", daemon=True)
    ticking.start()
    log.info("stopping", signal=_next_of(endings))
    loop.stop()
    # Programs first: they write to the disk; the listener only waits for readers.
    runner.stop()
    ticking.join(LAST_TICK_SECONDS)
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
