"""Bounded reads of the small text files that the kernel makes up in /proc and /sys."""

import os

READ_BYTES = 64 * 1024
"""One read() asks for this much; seq_files hand out at most about a page per line anyway."""


def read_kernel_file(path: str, limit_bytes: int) -> bytes:
    """Return the file's content, cut after ``limit_bytes``. Opens read-only; raises OSError.

    The limit keeps memory bounded where a host has thousands of mounts, disks or groups.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, min(READ_BYTES, limit_bytes))
        parts = [content]
        total = len(content)
        while content and total < limit_bytes:
            content = os.read(descriptor, min(READ_BYTES, limit_bytes - total))
            parts.append(content)
            total += len(content)
    finally:
        os.close(descriptor)
    return b"".join(parts)
