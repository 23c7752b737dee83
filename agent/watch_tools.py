"""What every watch is given by the composition root."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.config import Config
from agent.wear.ledger import WearLedger
from agent.wear.own_files import OwnFiles
from probes.clock import Clock
from probes.command import CommandRunner
from probes.write_budget import NoBudget, WriteBudget

MIB = 1048576


@dataclass(frozen=True, slots=True)
class WatchTools:
    """The configuration and the means to read the host.

    ``private_parent`` is where the secondary's private directories are made, ``private_budget``
    what may be written there; ``environ`` tells where the agent's own state may lie;
    ``state_directory`` is where it does lie, None: nowhere. Without a ``ledger`` no probe may write
    to a device. ``own_files`` knows the names of the devices that the agent's own files lie on.
    """

    config: Config
    clock: Clock
    runner: CommandRunner
    private_parent: str
    environ: Mapping[str, str]
    state_directory: str | None = None
    ledger: WearLedger | None = None
    own_files: OwnFiles | None = None
    private_budget: WriteBudget = NoBudget()  # noqa: RUF009 - it has no state
