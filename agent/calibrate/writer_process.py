"""Starting and ending the scratch database's process, and what it says when it fails."""

import json
import os
import signal
import subprocess
import sys
from typing import Final

from agent.calibrate import writer as scratch_writer

START_SECONDS: Final = 60.0
"""Opening an empty database takes milliseconds, and seconds on a device at its limit."""


class LoadFailed(Exception):
    """The child could not do its work: RocksDB's own words, or how it died."""


def library_options(directory: str) -> str:
    """The OPTIONS file that the library at hand writes for a default database.

    Raises LoadFailed when there is no library or it cannot open a database there.
    """
    path = os.path.join(directory, "known")
    child = spawn({"task": "options", "directory": path, "parent": os.getpid()}, directory, ())
    try:
        output, errors = child.communicate(timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        kill(child)
        raise LoadFailed(f"RocksDB did not open a database in {directory} in time") from None
    if child.returncode != 0:
        raise LoadFailed(last_words(output, errors, child.returncode))
    return newest_options(path)


def newest_options(path: str) -> str:
    """The text of a database's newest OPTIONS file; LoadFailed when it has none."""
    numbered = [
        (int(name[8:]), name)
        for name in os.listdir(path)
        if name.startswith("OPTIONS-") and name[8:].isdecimal()
    ]
    if not numbered:
        raise LoadFailed(f"RocksDB wrote no OPTIONS file into {path}")
    with open(
        os.path.join(path, max(numbered)[1]), encoding="utf-8", errors="surrogateescape"
    ) as file:
        return file.read()


def spawn(
    settings: dict[str, object], directory: str, descriptors: tuple[int, ...]
) -> "subprocess.Popen[bytes]":
    """Start the child with its settings, in its directory; it inherits ``descriptors``."""
    # -P: the child's own directory holds modules named like the standard library's (http).
    # A session of its own: Ctrl-C at the terminal reaches the parent alone, which ends the child.
    return subprocess.Popen(
        [sys.executable, "-P", scratch_writer.__file__, json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        pass_fds=descriptors,
        start_new_session=True,
    )


def kill(child: "subprocess.Popen[bytes]") -> None:
    """End the child and wait until it is gone: before that its files cannot be removed."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # ended meanwhile
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def raise_if_ended(child: "subprocess.Popen[bytes]") -> None:
    """LoadFailed when the child ended by itself, with its last words."""
    if child.poll() is not None:
        output, errors = child.communicate()
        raise LoadFailed(last_words(output, errors, child.returncode))


def last_words(output: bytes, errors: bytes, returncode: int | None) -> str:
    """Why the child ended, out of what it said."""
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("detail"), str):
        if answer.get("reason") == "rocksdict_missing":
            return f"rocksdict is not installed for {sys.executable}: {answer['detail']}"
        return f"RocksDB in the scratch directory: {answer['detail']}"
    if returncode is not None and returncode < 0:
        name = signal.Signals(-returncode).name
        return f"the scratch database's process was ended by {name} (out of memory?)"
    said = " ".join(errors.decode("utf-8", "replace").split())[-300:]
    return f"the scratch database's process ended: {said or f'exit {returncode}'}"
