"""One process at a time adds to what counts as written: the daemon, or a command beside it.

with account_lock(directory) as obstacle:   # None: nobody else has it until the end of the block
    ...                                     # read what is on record, reserve, put that on record

The lock is on a file of its own, because wear.json is replaced whole. The kernel gives it back at
its holder's end, however that comes about. Whoever holds it may hang on a dead disk, so nobody
waits for it for longer than ``patience_seconds``, and the daemon not at all.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from typing import Final

from agent.atomic_file import AtomicFile
from agent.wear.budget import Refused
from agent.wear.ledger_file import not_kept
from probes.scratch import enclosing_database

LOCK_NAME: Final = "wear.lock"

RETRY_SECONDS: Final = 0.05
"""A reservation takes the disk some milliseconds."""

# O_NONBLOCK: a pipe in its place must not make the daemon wait for a writer.
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextlib.contextmanager
def account_lock(directory: str, patience_seconds: float = 0.0) -> Iterator[Refused | None]:
    """Hold the accounts kept in ``directory``; or why not: "wear_account_busy" while another
    process does, "budget_not_kept" where they cannot be locked."""
    descriptor = None
    try:
        descriptor = _open(directory)
    except OSError as error:
        obstacle: Refused | None = not_kept(
            f"{os.path.join(directory, LOCK_NAME)}: {error.strerror}"
        )
    else:
        obstacle = _take(descriptor, directory, patience_seconds)
    try:
        yield obstacle
    finally:
        if descriptor is not None:
            if obstacle is None:
                # A child of another thread that hangs between fork and exec has it, too.
                with contextlib.suppress(OSError):  # closing does, where there is none
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _open(directory: str) -> int:
    database = enclosing_database(directory, ())
    if database is not None:
        raise OSError(errno.EPERM, f"{directory} now lies in the database {database}")
    path = os.path.join(directory, LOCK_NAME)
    try:
        return os.open(path, _FLAGS)
    except FileNotFoundError:
        pass  # the first time
    if os.geteuid() != 0 or os.stat(directory).st_uid == 0:
        return os.open(path, _FLAGS | os.O_CREAT, 0o600)
    _make_for_owner(directory, path)
    return os.open(path, _FLAGS)


def _make_for_owner(directory: str, path: str) -> None:
    """By root in another user's directory. The file has its name only once it is that user's: a
    command that is killed on the way must not lock the daemon out for good."""
    made = AtomicFile(directory, f"{LOCK_NAME}.{secrets.token_hex(8)}")
    made.write(b"", to_owner=True)
    try:
        with contextlib.suppress(FileExistsError):  # somebody was faster
            os.link(made.path, path, follow_symlinks=False)
    finally:
        os.unlink(made.path)


def _take(descriptor: int, directory: str, patience_seconds: float) -> Refused | None:
    give_up = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return Refused(
                    "wear_account_busy",
                    f"another process is reserving at this moment in {directory}; try again, and "
                    "where that lasts, look whether its disk answers",
                )
            time.sleep(RETRY_SECONDS)
        except OSError as error:
            return not_kept(f"{directory} cannot be locked: {error.strerror}")
        else:
            return None
