"""What ``smaxd discover`` prints of names that others chose."""

from pathlib import Path

import pytest

from agent.commands import discover
from probes.rocksdb.discover import DiscoveryResult
from probes.rocksdb.samples import DiscoveredDatabase


def test_control_characters_of_a_name_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory may be called anything: an escape sequence, two lines, no valid UTF-8."""
    found = DiscoveryResult(
        (
            DiscoveredDatabase(
                path="/srv/\x1b[2J\nroot\udcff",
                pid=7,
                owner_command="a\tb",
                owner_uid=0,
                size_bytes=None,
                rocksdb_version=None,
            ),
        ),
        0,
    )
    monkeypatch.setattr(discover, "discover_databases", lambda: found)
    discover.print_databases(None, as_json=False)
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["PID", "VERSION", "SIZE", "OWNER", "PATH"]
    assert line.endswith(
        "a\\tb             /srv/\\x1b[2J\\nroot\\udcff".replace("\\udcff", "\\xff")
    )


def test_what_does_not_answer_is_named_and_not_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perhaps it is no database."""
    good, silent = (DiscoveredDatabase(path, 7, "w", 0, None, None) for path in ("/a", "/b"))
    found = DiscoveryResult((good,), 0, (silent,))
    monkeypatch.setattr(discover, "discover_databases", lambda: found)
    file = tmp_path / "smaxd.yaml"
    discover.print_databases(str(file), as_json=False)

    printed = capsys.readouterr()
    assert "/b" not in printed.out
    assert "/b, open in process 7, does not answer" in printed.err
    assert "/b" not in file.read_text()
    assert "/a" in file.read_text()
