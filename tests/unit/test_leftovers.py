"""What killed runs left, at the start of the next."""

import os
from pathlib import Path

import pytest

from agent.config import Config, DatabaseSettings
from agent.leftovers import remove_leftovers
from agent.patience import Questions
from probes.clock import SystemClock


def test_it_goes_wherever_it_may_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the directory that is configured, in one of the usual ones, at the mount of a database,
    and what secondaries leave."""
    monkeypatch.setattr("agent.leftovers.mount_point", lambda path: path)
    scratch = f"smaxd-scratch-{os.geteuid()}"
    parents = [tmp_path / name for name in ("configured", "home/smaxd", "database", "tables")]
    left = [parent / scratch for parent in parents] + [tmp_path / "tmp/smaxd-secondary-1-0-beef"]
    for directory in left:
        directory.mkdir(parents=True, mode=0o700)
        (directory / "smaxd-scratch-1-0-0badcafe").touch()
    database = DatabaseSettings(path=str(parents[2]), db_paths=(str(parents[3]),))
    config = Config(scratch=str(parents[0]), databases=(database,))
    environ = {"XDG_STATE_HOME": str(tmp_path / "home")}
    questions = Questions(SystemClock())
    remove_leftovers(config, environ, str(tmp_path / "tmp"), questions)

    assert [directory for directory in left if directory.exists()] == []
