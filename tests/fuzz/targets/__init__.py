"""The targets by name. Each is a module with ``run(data)`` and ``seeds()``.

``run`` returns nothing for any input whatever, or fails: by an exception that the parser does not
announce, or by an assertion about what it returned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.fuzz.targets import (
    certificate,
    config,
    diskstats,
    fio,
    learned,
    log,
    manifest,
    mountinfo,
    options,
    pressure,
    recording,
    smart,
    wal,
    web_config,
)

CORPUS = Path(__file__).parents[2] / "data" / "fuzz"
"""What found something, by target: kept for good."""


@dataclass(frozen=True)
class Target:
    """One parser under attack; ``words`` are what its inputs are made of."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[bytes, ...]

    def found(self) -> list[Path]:
        """The inputs that found something, smallest first."""
        return sorted((CORPUS / self.name).glob("*"), key=lambda path: path.stat().st_size)


def _target(module: ModuleType) -> Target:
    name = module.__name__.rpartition(".")[2]
    return Target(name, module.run, module.seeds, tuple(module.WORDS))


TARGETS = {
    target.name: target
    for target in map(
        _target,
        (
            certificate,
            config,
            diskstats,
            fio,
            learned,
            log,
            manifest,
            mountinfo,
            options,
            pressure,
            recording,
            smart,
            wal,
            web_config,
        ),
    )
}
