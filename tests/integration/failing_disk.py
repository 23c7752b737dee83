"""A disk that answers every request with an error, as a dying one does, until it is well again.

A loop device on the one file of a FUSE file system of our own, which reads and writes the file
behind it, or fails. So the errors come from below the file system that lies on the disk, and reach
whoever reads and writes there the way a real disk's do: at a read, at fsync, never at a write into
the page cache.

Run as a program, ``python -m tests.integration.failing_disk DIRECTORY FILE``, it serves FILE as
DIRECTORY/image until its input ends. A line of input, "fail" or "heal", is answered by itself.

Sources: the kernel's include/uapi/linux/fuse.h and filesystems/fuse.rst.
"""

import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.daemon import ROOT
from tests.integration.volume import VOLUME_BYTES, Volume

IMAGE = "image"
MNT_DETACH = 2
ROOT_NODE, IMAGE_NODE = 1, 2
LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 20, 25, 26, 27, 29, 36, 42
UNANSWERED = {FORGET, INTERRUPT, BATCH_FORGET}
OF_THE_DISK = {READ, WRITE, FSYNC}
FOPEN_DIRECT_IO = 1
"""No page cache between the loop device and us: it would hide the errors."""

IN_HEADER = struct.Struct("=IIQQIIII")
OUT_HEADER = struct.Struct("=IiQ")
INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
ATTRIBUTES = struct.Struct("=6Q10I")
NO_TIMES = (0, 0, 0, 0, 0, 0)
LARGEST_WRITE_BYTES = 131072


class FailingDisk(Volume):
    """A volume that can be made to fail, and to work again."""

    def __init__(self, place: Path, size_bytes: int = VOLUME_BYTES) -> None:
        # Without a journal: its abort would make the file system read-only, which is another fault.
        super().__init__(place, size_bytes, "-O", "^has_journal")
        front = self._directory / "front"
        front.mkdir()
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__, str(front), str(self._image)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._image = front / IMAGE
        if not self._answer():
            self.destroy()
            pytest.skip("FUSE file systems cannot be mounted here")

    def fail(self) -> None:
        """Answer every read and write with an input/output error from now on."""
        self._tell("fail")

    def heal(self) -> None:
        """Do what is asked again."""
        self._tell("heal")

    def forget(self, directory: Path) -> None:
        """Drop what the page cache has of its files, so that the disk is asked for it."""
        for path in directory.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)  # what is dirty stays
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def _tell(self, word: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(f"{word}\n")
        self._server.stdin.flush()
        assert self._answer() == word

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def _remove(self) -> None:
        self._server.communicate()  # the end of its input is the end of it
        super()._remove()


@contextmanager
def failing_disk(place: Path) -> Iterator[FailingDisk]:
    """A mounted one until the end of the block."""
    disk = FailingDisk(place)
    try:
        disk.plug_in()
        yield disk
    finally:
        disk.heal()
        disk.destroy()


class Server:
    """Answers the kernel."""

    def __init__(self, image: int) -> None:
        self._image = image
        self.failing = False

    def answer(self, request: bytes) -> bytes | None:
        """The answer to one request; None where the kernel expects none."""
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        if opcode in UNANSWERED:
            return None
        try:
            if self.failing and opcode in OF_THE_DISK:
                raise OSError(errno.EIO, "the disk fails")
            body = self._do(opcode, node, memoryview(request)[IN_HEADER.size :])
        except OSError as error:
            return OUT_HEADER.pack(OUT_HEADER.size, -(error.errno or errno.EIO), unique)
        return OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body

    def _do(self, opcode: int, node: int, body: memoryview) -> bytes:
        if opcode == INIT:
            return INIT_OUT.pack(7, 31, 0, 0, 0, 0, LARGEST_WRITE_BYTES, 1, 0, 0, 0)
        if opcode == LOOKUP:
            if bytes(body).rstrip(b"\0") != IMAGE.encode():
                raise OSError(errno.ENOENT, "there is one file")
            return struct.pack("=QQQQII", IMAGE_NODE, 0, 0, 0, 0, 0) + self._attributes(IMAGE_NODE)
        if opcode == GETATTR:
            return struct.pack("=QII", 0, 0, 0) + self._attributes(node)
        if opcode in {OPEN, OPENDIR}:
            return struct.pack("=QII", 0, FOPEN_DIRECT_IO if opcode == OPEN else 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("=QQI", body)
            return os.pread(self._image, size, offset)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("=QQI", body)
            return struct.pack("=II", os.pwrite(self._image, body[40 : 40 + size], offset), 0)
        if opcode == STATFS:
            return struct.pack("=5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if opcode in {FSYNC, FLUSH, RELEASE, RELEASEDIR}:
            return b""
        raise OSError(errno.ENOSYS, "not needed for a loop device")

    def _attributes(self, node: int) -> bytes:
        size = os.fstat(self._image).st_size if node == IMAGE_NODE else 0
        mode = stat.S_IFREG | 0o600 if node == IMAGE_NODE else stat.S_IFDIR | 0o700
        owner = (os.geteuid(), os.getegid())
        return ATTRIBUTES.pack(node, size, size // 512, *NO_TIMES, mode, 1, *owner, 0, 4096, 0)


def serve(directory: str, file: str) -> int:
    """Mount, and answer until the input ends."""
    libc = ctypes.CDLL(None)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
    if libc.mount(b"image", os.fsencode(directory), b"fuse", 0, options.encode()):
        return 1
    server = Server(os.open(file, os.O_RDWR))
    try:
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([device, sys.stdin], [], [])
            if device in ready:
                answer = server.answer(os.read(device, 2 * LARGEST_WRITE_BYTES))
                if answer is not None:
                    os.write(device, answer)
            elif word := sys.stdin.readline().strip():
                server.failing = word == "fail"
                print(word, flush=True)
            else:
                return 0
    finally:
        libc.umount2(os.fsencode(directory), MNT_DETACH)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], sys.argv[2]))
