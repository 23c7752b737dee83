"""Reading a small file that somebody else put there."""

import errno
import os
import stat


def read_regular(path: str, limit_bytes: int) -> bytes:
    """Its content, of a larger one the first ``limit_bytes`` + 1. OSError, also where something
    else lies in its place: a pipe must not make anyone wait for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        # Not fdopen on its own: where it fails, it leaves the descriptor open.
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit_bytes + 1)
    finally:
        os.close(descriptor)
