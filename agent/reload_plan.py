"""What a newly read configuration changes in a running daemon. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from agent.config import Config, DatabaseSettings

NEEDS_RESTART = ("web.listen_address", "web.config_file", "state", "log.level", "log.format")
"""Settings that are used once, at the start: a reload tells of them and leaves them as they are."""


@dataclass(frozen=True, slots=True)
class ConfigLoad:
    """How the last reading of the configuration ended, in Prometheus's convention."""

    successful: bool
    success_wall_seconds: float
    """Unix time of the last reading that succeeded, the start included."""


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """The configuration that can be in force now, and the key paths that differ."""

    config: Config
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def plan_reload(running: Config, wanted: Config) -> ReloadPlan:
    """What of ``wanted`` can be in force without a restart."""
    differing = tuple(_differences(running, wanted))
    log = running.log
    return ReloadPlan(
        config=msgspec.structs.replace(wanted, web=running.web, state=running.state, log=log),
        changed=tuple(key for key in differing if key not in NEEDS_RESTART),
        needs_restart=tuple(key for key in differing if key in NEEDS_RESTART),
    )


def _differences(one: msgspec.Struct, other: msgspec.Struct, path: str = "") -> Iterator[str]:
    for name in one.__struct_fields__:
        before, after = getattr(one, name), getattr(other, name)
        if isinstance(before, msgspec.Struct):
            yield from _differences(before, after, f"{path}{name}.")
        elif before != after:
            yield f"{path}{name}"


def databases_to_watch(
    config: Config, found_running: Mapping[str, bool]
) -> tuple[DatabaseSettings, ...]:
    """The databases to watch right after a reload.

    ``found_running`` tells of each path watched so far whether a search for running databases has
    found it, or would: those go on where the configuration names none, without waiting for it.
    """
    if config.databases or not config.discovery.enabled:
        return config.databases
    return tuple(DatabaseSettings(path=path) for path, found in found_running.items() if found)
