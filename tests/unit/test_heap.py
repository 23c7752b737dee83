"""The C library's heap, as a process of its own shows it."""

import platform
import re
import subprocess
import sys

import pytest

from agent import heap

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="mallopt and malloc_info are glibc's"
)

LOOK = """
import ctypes
import sys
import threading

from agent import heap

libc = ctypes.CDLL(None)

def look():
    libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))

if sys.argv[1] == "small":
    heap.keep_small()
large = bytearray(1 << 20)
del large
look()
large = bytearray(1 << 20)
look()
together = threading.Barrier(8)

def work():
    held = [bytearray(2000) for _ in range(100)]  # more than Python's own allocator takes on
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
look()
libc.fflush(None)
"""


def arenas_and_mapped_blocks(how: str) -> tuple[int, int]:
    """How many arenas there are in the end, and how many blocks a second large one has mapped."""
    told = subprocess.run(
        [sys.executable, "-c", LOOK, how],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    ).stdout
    before, after, _ = re.findall(r'<total type="mmap" count="(\d+)"', told)
    return told.rpartition("<malloc ")[2].count("<heap nr="), int(after) - int(before)


@needs_glibc
def test_all_threads_share_one_arena_and_large_blocks_are_mapped() -> None:
    """However many run at once, and after large blocks have come and gone."""
    assert arenas_and_mapped_blocks("small") == (1, 1)


@needs_glibc
def test_left_alone_every_thread_has_an_arena_and_large_blocks_stay() -> None:
    """What the other test would see if nothing were set: else it would prove nothing."""
    arenas, mapped = arenas_and_mapped_blocks("left alone")
    assert arenas > 1
    assert mapped == 0


@pytest.mark.parametrize("error", [AttributeError("no mallopt"), OSError("no dynamic linker")])
def test_a_program_whose_c_library_cannot_be_asked_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """With another C library, or linked with its own."""

    asked: list[None] = []

    def refuse(program: None) -> None:
        asked.append(program)
        raise error

    monkeypatch.setattr("ctypes.CDLL", refuse)
    heap.keep_small()
    heap.give_back()
    assert asked == [None, None, None]
