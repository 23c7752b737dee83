"""The composition root of the daemon: wires the parts together and decides nothing."""

import os
import signal
import tempfile
from collections.abc import Mapping
from types import FrameType

from agent import __version__
from agent.config import Config, config_hash, split_listen_address
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.http import HttpServer, application
from agent.logs import logger_for
from agent.loop import Loop, Published
from agent.watch_tools import WatchTools
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.rocksdb.secondary import remove_private_leftovers


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
    loop = Loop(
        HostWatch(WatchTools(config, clock, runner, private_parent, environ)),
        HostState(
            version=__version__,
            config_hash=config_hash(config),
            tick_seconds=config.tick_seconds,
            phase_hold_seconds=config.phase.hold_seconds,
            alerts=config.alerts,
        ),
        published,
        clock,
        log,
        config.tick_seconds,
    )

    def end(number: int, _: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        loop.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.start()
    log.info("started", version=__version__, address=server.address, pid=os.getpid())
    try:
        loop.run()
    finally:
        # Programs first: they write to the disk; the listener only waits for readers.
        runner.stop()
        server.stop()
    log.info("stopped")


def private_directory_parent(environ: Mapping[str, str]) -> str:
    """Where the secondary's private directories are made: the service's own, else temporary."""
    return environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or tempfile.gettempdir()
