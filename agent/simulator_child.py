"""The child process of ``agent.simulator``: one ModelInputs in, one SimulatedRate out.

Run by its file name: ``python -P -S simulator_child.py PARENT ROOT SITE TIMEOUT MEMORY INPUTS``,
with the caller's process id, the directories of this project and of msgspec, seconds, bytes, and
the inputs as JSON. Prints the rate as JSON, or {"error": ...}. It imports nothing but the models,
msgspec and the tie to its caller: its start is most of what it costs.
"""

import os
import resource
import signal
import sys

NICENESS = 19
"""What the database or anybody else wants to do comes first."""


def main(arguments: list[str]) -> int:
    """Print the answer; 0 also when the inputs make no sense, since that is an answer."""
    parent, root, site, timeout, memory, inputs = arguments
    seconds = max(1, int(float(timeout)))
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    sys.path[:0] = [root, site]
    from probes.tied import (  # noqa: PLC0415 (not to be found before the path is set)
        die_with_parent,
        first_to_die,
    )

    die_with_parent(int(parent))
    first_to_die()
    os.nice(NICENESS)
    # msgspec does without it, and importing it costs as much as all the rest.
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    import msgspec  # noqa: PLC0415

    from agent.models.lsm import ModelInputs  # noqa: PLC0415
    from agent.models.lsm_simulator import simulate  # noqa: PLC0415

    try:
        answer: object = simulate(msgspec.json.decode(inputs, type=ModelInputs))
    except (ValueError, ArithmeticError, msgspec.DecodeError) as error:
        answer = {"error": str(error) or type(error).__name__}
    except MemoryError:
        answer = {"error": "the memory limit was reached"}
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
