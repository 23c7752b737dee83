"""``smaxd run``: the configuration out of file, flags and defaults."""

import os

import msgspec

from agent.config import Config, ConfigError, DatabaseSettings, check, load_config
from agent.main import RecordTo
from agent.recording.recorder import MEBIBYTE


def effective_config(
    config_path: str | None,
    databases: tuple[str, ...],
    listen_address: str | None,
    scratch: str | None,
    state: str | None = None,
    web_config_file: str | None = None,
) -> Config:
    """The file's configuration with the flags over it; ConfigError lists all problems.

    ``--db`` replaces the file's list but keeps the settings of databases that the file names too.
    """
    config = load_config(config_path) if config_path else Config()
    changes: dict[str, object] = {}
    if databases:
        paths = list(dict.fromkeys(os.path.abspath(path) for path in databases))
        known = {os.path.abspath(database.path): database for database in config.databases}
        changes["databases"] = tuple(known.get(path, DatabaseSettings(path=path)) for path in paths)
    web = config.web
    if listen_address is not None:
        web = msgspec.structs.replace(web, listen_address=listen_address)
    if web_config_file is not None:  # empty: none, as exporters have it
        file = os.path.abspath(web_config_file) if web_config_file else None
        web = msgspec.structs.replace(web, config_file=file)
    changes["web"] = web
    if scratch is not None:
        changes["scratch"] = os.path.abspath(scratch)
    if state is not None:
        changes["state"] = os.path.abspath(state)
    config = msgspec.structs.replace(config, **changes)
    problems = check(config)
    if problems:
        raise ConfigError(problems)
    return config


def record_to(path: str | None, limit_mib: float) -> RecordTo | None:
    """Where ``--record`` and its limit (from 0.1 MiB to 1 TiB) lead; None without ``--record``."""
    if path is None:
        return None
    limit_mib = min(max(0.1, limit_mib), 1048576.0)
    return RecordTo(os.path.abspath(path), int(limit_mib * MEBIBYTE))
