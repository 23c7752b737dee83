"""smaxd as its user runs it: inside the writers' cgroup, asked through its API."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.processes import Program, free_port, smaxd_command
from tests.bench.truth.slow_device import SlowDevice
from tests.bench.truth.writer_group import io_hierarchy

TICK_SECONDS = 5
ASK_SECONDS = 4.0

HIDE_LIMIT = 'mount -t tmpfs -o size=4k none "$1" && shift && exec "$@"'

Document = dict[str, Any]


class Agent:
    """One smaxd that watches one database; ``directory`` is the run's own."""

    def __init__(
        self, device: SlowDevice, database: Path, directory: Path, *, limit_visible: bool
    ) -> None:
        config = directory / "smaxd.yaml"
        config.write_text(f"tick_seconds: {TICK_SECONDS}\n")
        self._port = free_port()
        scratch = device.mount / "scratch"
        state = device.mount / "state"
        for path in (scratch, state):
            path.mkdir(exist_ok=True)
        argv = [*smaxd_command(), "run", "--config", str(config), "--db", str(database)]
        argv += ["--web.listen-address", f"127.0.0.1:{self._port}", "--scratch", str(scratch)]
        self.recording: Path | None = None
        if records():
            self.recording = directory / "recording.gz"
            argv += ["--record", str(self.recording)]
        if not limit_visible:
            hide = ["unshare", "--mount", "sh", "-c", HIDE_LIMIT, "sh", str(io_hierarchy())]
            argv = [*hide, *argv]
        environ = _environment(state)
        self.program = Program(device.group.inside(argv), directory / "smaxd.log", environ)
        device.on_leaving(self.program.end)

    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.program.started

    def database(self) -> Document | None:
        """What it says of the database now; None before it answers."""
        self.program.check()
        try:
            url = f"http://127.0.0.1:{self._port}/api/v1/status"
            with urllib.request.urlopen(url, timeout=ASK_SECONDS) as answer:
                status = json.load(answer)
        except (OSError, ValueError):
            return None
        databases: list[Document] = status["databases"]
        return databases[0] if databases else None


def records() -> bool:
    """Whether this smaxd can record what its probes see."""
    shown = subprocess.run(
        [*smaxd_command(), "run", "--help"], capture_output=True, text=True, check=False
    )
    return "--record" in shown.stdout


def _environment(state: Path) -> Mapping[str, str]:
    # What one run has learned must not reach the next.
    return {
        **os.environ,
        "STATE_DIRECTORY": str(state),
        "RUNTIME_DIRECTORY": str(state),
        "XDG_STATE_HOME": str(state),
    }
