"""What every watch is given by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.config import Config
from agent.wear.ledger import WearLedger
from probes.clock import Clock
from probes.command import CommandRunner

MIB = 1048576


@dataclass(frozen=True, slots=True)
class WatchTools:
    """The configuration and the means to read the host.

    ``private_parent`` is where the secondary's private directories are made; ``environ`` tells
    where the agent's own state may lie; ``state_directory`` is where it does lie, None: nowhere.
    Without a ``ledger`` nothing may be written to a device. ``own_devices`` are the names, by
    account, of the devices that the agent's own files lie on.
    """

    config: Config
    clock: Clock
    runner: CommandRunner
    private_parent: str
    environ: Mapping[str, str]
    state_directory: str | None = None
    ledger: WearLedger | None = None
    own_devices: Mapping[str, str] = field(default_factory=dict)
