"""What every watch is given by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.config import Config
from probes.clock import Clock
from probes.command import CommandRunner

MIB = 1048576


@dataclass(frozen=True, slots=True)
class WatchTools:
    """The configuration and the means to read the host.

    ``private_parent`` is where the secondary's private directories are made; ``environ`` tells
    where the agent's own state may lie; ``state_directory`` is where it does lie, None: nowhere.
    """

    config: Config
    clock: Clock
    runner: CommandRunner
    private_parent: str
    environ: Mapping[str, str]
    state_directory: str | None = None
