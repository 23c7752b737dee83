"""A recording through the same decisions as in the daemon: findings in, snapshots out. Pure.

    recording = open_recording(path)                        # agent.recording.recording
    state = host_state_for(recording.header.config)         # agent.main
    for snapshot in replay(recording, state, InlineSimulator()):
        ...

Each tick goes as in ``agent.loop``. The simulator, which the daemon runs off the tick, answers here
between two ticks, so that the result does not depend on how fast the replay runs.
"""

from collections.abc import Iterable, Iterator

from agent.findings import Findings
from agent.host_state import HostState
from agent.simulator import Simulator
from agent.snapshot import Snapshot


def replay(ticks: Iterable[Findings], state: HostState, simulator: Simulator) -> Iterator[Snapshot]:
    """One snapshot per recorded tick, as the daemon with this code would have published it."""
    for findings in ticks:
        for name, answer in simulator.answers().items():
            state.take_simulated(name, answer, findings.at)
        snapshot = state.advance(findings)
        state.probes_due()  # counts as their start; what became of them is in later findings
        simulator.keep({database.name for database in snapshot.databases})
        for inputs in state.simulations_due(findings.at):
            simulator.submit(inputs.database, inputs)
        yield snapshot
