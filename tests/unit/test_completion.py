"""What a shell is told when somebody presses tab."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def completions(line: str) -> list[str]:
    """What bash is told about the last word of a line: ``type,word`` of each candidate."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "agent"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_SMAXD_COMPLETE": "bash_complete",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("smaxd disc", ["plain,discover"]),
        ("smaxd probe r", ["plain,rocksdb"]),
        ("smaxd status --w", ["plain,--watch"]),
        ("smaxd probe fio --mode b", ["plain,balanced"]),
    ],
)
def test_commands_options_and_choices_are_completed(line: str, expected: list[str]) -> None:
    assert completions(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "smaxd check-config /etc/sm",
        "smaxd probe rocksdb --db /var/l",
        "smaxd run --config /etc/sm",
        "smaxd pause --state /v",
        "smaxd replay rec",
    ],
)
def test_a_path_is_left_to_the_shell(line: str) -> None:
    """The scripts keep the shell from offering files by itself: each path says that it is one."""
    assert completions(line) == [f"file,{line.rpartition(' ')[2]}"]
