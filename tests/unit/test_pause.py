"""``smaxd pause`` and ``resume``: the duration, the file, the countdown, the commands."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import cli
from agent.probing.pause import (
    DamagedPause,
    InvalidDuration,
    Pause,
    PauseCountdown,
    decode_pause,
    encode_pause,
    parse_duration,
)
from agent.probing.pause_file import FILE_NAME, PauseProbe, write_pause
from probes.errors import NoData, ProbeFailed

HOUR = 3600.0
PAUSE = Pause(1000.0, 1000.0 + HOUR, 0)


@dataclasses.dataclass
class FakeClock:
    """Two clocks that a test sets."""

    now: float = 0.0
    wall_seconds: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.wall_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), ("30d", 2592000.0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """Seconds, minutes, hours or days."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "0m", "-1h", "1.5h", "31d", "1h30m", "\u0663h", "forever"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    """There is no pause without an end."""
    with pytest.raises(InvalidDuration, match="30m"):
        parse_duration(text)


@given(st.binary(max_size=200))
def test_garbage_is_no_pause(content: bytes) -> None:
    """And breaks nothing."""
    with pytest.raises(DamagedPause):
        decode_pause(content)


@pytest.mark.parametrize(
    "pause", [Pause(0.0, 0.0, 0), Pause(10.0, 5.0, 0), Pause(0.0, 1e9, 0), Pause(-1e308, 1e308, 0)]
)
def test_a_pause_of_an_impossible_length_is_damaged(pause: Pause) -> None:
    """Nobody can have asked for it."""
    with pytest.raises(DamagedPause):
        decode_pause(encode_pause(pause))


@given(st.floats(-1e12, 1e12), st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_no_clock_makes_a_pause_longer_than_it_was_meant(
    wall: float, first: float, later: float
) -> None:
    """Wherever the wall clock stands when it is first seen."""
    countdown = PauseCountdown()
    left = countdown.remaining_seconds(PAUSE, first, wall)
    assert 0.0 <= left <= HOUR
    assert countdown.remaining_seconds(PAUSE, first + HOUR, wall - later) == 0.0


def test_a_wall_clock_that_jumps_neither_ends_nor_prolongs_a_pause() -> None:
    """Once it was seen, the monotonic clock counts."""
    countdown = PauseCountdown()
    assert countdown.remaining_seconds(PAUSE, 50.0, 1000.0) == HOUR
    assert countdown.remaining_seconds(PAUSE, 60.0, 9e9) == HOUR - 10.0
    assert countdown.remaining_seconds(PAUSE, 70.0, 0.0) == HOUR - 20.0
    assert countdown.remaining_seconds(None, 80.0, 1000.0) == 0.0
    anew = Pause(1080.0, 1140.0, 0)
    assert countdown.remaining_seconds(anew, 80.0, 1080.0) == 60.0


def test_the_probe_sees_what_the_command_wrote(tmp_path: Path) -> None:
    """A private file, nothing beside it, and over after its time."""
    clock = FakeClock()
    probe = PauseProbe(str(tmp_path), clock)
    with pytest.raises(NoData, match="not_paused"):
        probe.read()
    path = write_pause(str(tmp_path), PAUSE)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(tmp_path) == [FILE_NAME]
    assert probe.read() == HOUR
    clock.now += HOUR
    with pytest.raises(NoData, match="not_paused"):
        probe.read()


def test_without_a_state_directory_nothing_is_paused() -> None:
    """There is nowhere to look."""
    with pytest.raises(NoData, match="not_paused"):
        PauseProbe(None, FakeClock()).read()


@pytest.mark.parametrize("kind", ["garbage", "link", "pipe", "directory", "large"])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, kind: str) -> None:
    """Nor does it keep the daemon waiting."""
    path = tmp_path / FILE_NAME
    if kind == "garbage":
        path.write_bytes(b"\0{]")
    elif kind == "link":
        (tmp_path / "elsewhere").write_bytes(encode_pause(PAUSE))
        path.symlink_to("elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(encode_pause(PAUSE) + b" " * 5000)
    with pytest.raises(ProbeFailed) as caught:
        PauseProbe(str(tmp_path), FakeClock()).read()
    assert caught.value.reason == "pause_unusable"
    assert FILE_NAME in caught.value.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_owners(tmp_path: Path) -> None:
    """Another user's file is not believed; what root writes belongs to the directory's owner."""
    os.chown(tmp_path, 12345, 12345)
    path = write_pause(str(tmp_path), PAUSE)
    assert os.stat(path).st_uid == 12345
    with pytest.raises(ProbeFailed, match="another user"):
        PauseProbe(str(tmp_path), FakeClock()).read()


def test_pause_and_resume_from_the_command_line(tmp_path: Path) -> None:
    """The state directory is named, as for a daemon that does not run."""
    runner = CliRunner()
    paused = runner.invoke(cli, ["pause", "30m", "--state", str(tmp_path)])
    assert (paused.exit_code, "resume" in paused.output) == (0, True)
    pause = decode_pause((tmp_path / FILE_NAME).read_bytes())
    assert pause.seconds == pytest.approx(1800.0)
    assert pause.uid == os.getuid()
    for said in ("may write again", "were not paused"):
        resumed = runner.invoke(cli, ["resume", "--state", str(tmp_path)])
        assert (resumed.exit_code, said in resumed.output) == (0, True)
    assert os.listdir(tmp_path) == []


def test_a_pause_lasts_an_hour_unless_told_otherwise(tmp_path: Path) -> None:
    """Long enough for most maintenance, and it ends by itself."""
    CliRunner().invoke(cli, ["pause", "--state", str(tmp_path)])
    assert decode_pause((tmp_path / FILE_NAME).read_bytes()).seconds == pytest.approx(HOUR)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["pause", "soon", "--state", "."], 2),
        (["pause", "--state", "/no/such/directory"], 1),
        (["resume", "--state", "/no/such/directory"], 1),
        (["pause", "--url", "http://127.0.0.1:1"], 1),
        (["resume", "--url", "http://127.0.0.1:1"], 1),
    ],
)
def test_what_cannot_be_done_is_one_line(words: list[str], code: int) -> None:
    """And an exit code."""
    ended = CliRunner().invoke(cli, words)
    assert (ended.exit_code, ended.output.count("\n")) == (code, 1)


def test_the_running_daemon_names_its_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that it has none."""
    status: dict[str, object] = {"state_directory": str(tmp_path)}
    monkeypatch.setattr("agent.commands.pause.fetch_status", lambda _: (None, status))
    assert CliRunner().invoke(cli, ["pause"]).exit_code == 0
    assert (tmp_path / FILE_NAME).exists()
    status["state_directory"] = None
    ended = CliRunner().invoke(cli, ["pause"])
    assert (ended.exit_code, "keeps no state" in ended.output) == (1, True)
