"""``smaxd pause`` and ``smaxd resume``: for a maintenance window, no probe that writes."""

import os
import time

import click

from agent.client import NoDaemon, fetch_status
from agent.commands.accounting import account_for_file
from agent.probing.pause import InvalidDuration, Pause, parse_duration
from agent.probing.pause_file import remove_pause, write_pause


def pause(url: str, state: str | None, duration: str) -> int:
    """Pause for ``duration``; 0, 1 when it cannot be done, 2 for a bad duration."""
    try:
        seconds = parse_duration(duration)
    except InvalidDuration as error:
        return _fail(str(error), 2)
    directory = _state_directory(url, state)
    if directory is None:
        return 1
    now = time.time()
    try:
        path = write_pause(directory, Pause(now, now + seconds, os.getuid()))
    except OSError as error:
        return _fail(f"{directory}: {error.strerror}; pause as the daemon's user or as root")
    account_for_file(path, os.environ, state=directory)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now + seconds))
    click.echo(f"no probe writes until {until} ({path}); 'smaxd resume' ends this")
    return 0


def resume(url: str, state: str | None) -> int:
    """End a pause; 0 also when there is none, 1 when it cannot be done."""
    directory = _state_directory(url, state)
    if directory is None:
        return 1
    try:
        removed = remove_pause(directory)
    except OSError as error:
        return _fail(f"{directory}: {error.strerror}; resume as the daemon's user or as root")
    click.echo("probes may write again" if removed else "probes were not paused")
    return 0


def _state_directory(url: str, state: str | None) -> str | None:
    """The one that was named, else the running daemon's; None after saying why there is none."""
    if state is not None:
        if not os.path.isdir(state):
            _fail(f"{state} is no directory; name the daemon's state directory with --state")
            return None
        return os.path.abspath(state)
    try:
        _, status = fetch_status(url)
    except NoDaemon as error:
        _fail(f"{error}; or name its state directory with --state")
        return None
    directory = status.get("state_directory")
    if not isinstance(directory, str):
        _fail("the daemon keeps no state on disk, so that it cannot be paused; run it with --state")
        return None
    return directory


def _fail(message: str, code: int = 1) -> int:
    click.echo(f"smaxd: {message}", err=True)
    return code
