"""The C library's heap, kept small: one arena, and free memory that goes back to the system.

``keep_small()``   once, before the first thread
``give_back()``    what is free and was kept, at any time

Nothing happens with a C library that knows neither.
"""

import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""Of mallopt(3), as in glibc's malloc.h."""

MAPPED_BYTES: Final = 128 * 1024
"""A block from this size on is mapped for itself, and goes when it is freed. glibc's own limit to
begin with; left alone, it would rise with the first block that is freed, and what the first reading
of a LOG took would stay."""


def keep_small() -> None:
    """Have all threads allocate from one arena.

    glibc gives threads that run at the same time an arena each, eight for every core, and each
    keeps what the largest work took that was ever done in it. Every run of a probe has a thread of
    its own, so that in the course of hours each arena meets the largest probe. Under the
    interpreter's lock hardly two threads allocate at once: there is nothing to gain by it.
    """
    _call("mallopt", M_ARENA_MAX, 1)
    _call("mallopt", M_MMAP_THRESHOLD, MAPPED_BYTES)


def give_back() -> None:
    """Return free memory to the system."""
    _call("malloc_trim", 0)


def _call(function: str, *arguments: int) -> None:
    try:
        getattr(ctypes.CDLL(None), function)(*arguments)
    except AttributeError:
        pass  # not glibc: one that keeps no free memory, or asks nobody
    except OSError:
        pass  # a program without a dynamic linker
