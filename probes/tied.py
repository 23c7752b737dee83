"""Ties a program's life to its caller's: the kernel kills it when the caller dies, however it dies.

Run by its file name: ``python -I -S tied.py PARENT DIRECTORY PROGRAM ARGUMENT...`` becomes PROGRAM,
looked up on PATH, in DIRECTORY, or where it is when that is empty. Nothing of it stays but the tie.

The kernel counts the death of the *thread* that started the program (prctl(2),
PR_SET_PDEATHSIG): a caller's thread has to wait for the program's end, as ``probes.command`` does.
The tie is lost when PROGRAM is set-user-id or has capabilities of its own.
"""

import ctypes
import os
import signal
import sys

NOT_STARTED_CODE = 127
"""The exit code when PROGRAM cannot be started, as a shell's; see ``NOT_STARTED_MARK``."""

NOT_STARTED_MARK = b"smaxd-not-started "
"""Then the standard error is this, what failed, the errno and its meaning, between spaces."""

DIRECTORY = "directory"
PROGRAM = "program"
"""What failed: the change to the directory, or the start of the program in it."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process at its parent's end; ends it when that is over."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(NOT_STARTED_CODE)  # it died before the kernel was asked


def first_to_die() -> None:
    """When memory runs out, this process goes, and neither a database nor the agent."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # a sandbox without it; the default score already counts our memory


def main(arguments: list[str]) -> int:
    """Become the program."""
    die_with_parent(int(arguments[0]))
    first_to_die()
    # The interpreter ignores these for itself, and what is ignored stays so in PROGRAM.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    directory, *program = arguments[1:]
    what = DIRECTORY
    try:
        if directory:
            os.chdir(directory)  # on a dead device this may never return
        what = PROGRAM
        os.execvp(program[0], program)  # noqa: S606 - a shell is what nobody wants here
    except OSError as error:
        mark = NOT_STARTED_MARK.decode()
        sys.stderr.write(f"{mark}{what} {error.errno} {error.strerror}")
    return NOT_STARTED_CODE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
