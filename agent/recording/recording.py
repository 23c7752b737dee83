"""The recording format: what the probes answered, tick by tick, to be studied without the host.

A recording is a gzip stream of JSON lines. The first is the header: format version, smaxd's
version, the configuration, facts of the host, what had been learned. Then one line per tick:
``{"tick": ...}`` with the findings, the first whole, each later one as the difference to the one
before (``agent.recording.codec``); ``"skipped"`` counts ticks before it that could not be written
in time. The last line, ``{"end": reason}``, is missing when the daemon was killed.

    recording = open_recording(path)        # RecordingError: not one, or of another format
    recording.header.config                 # the Config in force
    for findings in recording: ...          # Findings, streamed; RecordingError where damaged
    recording.end                           # why it ends; None: cut, see recording.cut

``agent.recording.replay`` makes Snapshots of it. Fields that samples gain later do not make old
recordings unreadable; a change of the format itself does, by ``FORMAT_VERSION``.
"""

import json
import zlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Final

import msgspec

from agent.config import Config
from agent.findings import Findings
from agent.learning.memory import LearnedState, problem
from agent.readings import Known, Missing
from agent.recording.codec import Codec, Malformed

FORMAT: Final = "smaxd-recording"

FORMAT_VERSION: Final = 1
"""Raised whenever a recording of before cannot be read any more as it was meant."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""No tick is that long; what claims to be is damaged, or made to exhaust the memory."""

_READ_BYTES: Final = 64 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"  # RFC 1952
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib.h, inflateInit2: 16 more asks for the gzip format

_DURATION_DIGITS: Final = 5  # 10 us
_WALL_DIGITS: Final = 2  # 10 ms

NOT_RECORDED: Final = Missing("not_recorded", "the recording was made before this was read")
"""Stands for readings that are younger than the recording."""


class RecordingError(Exception):
    """A recording that cannot be read; one sentence with the file's name."""


class HostFacts(msgspec.Struct, frozen=True):
    """What a model may need of the host that no probe reads; None where unknown."""

    cores: int | None = None
    memory_bytes: int | None = None
    kernel: str | None = None
    machine: str | None = None


class RecordingHeader(msgspec.Struct, frozen=True):
    """What holds for a whole recording; ``learned`` is what the daemon knew when it began."""

    smaxd: str
    started_wall_seconds: float
    config: Config
    host: HostFacts
    learned: LearnedState = LearnedState()


class TickEncoder:
    """Header and ticks as lines; each tick after the first is a difference. Pure."""

    def __init__(self) -> None:
        self._before: Findings | None = None

    @staticmethod
    def header(header: RecordingHeader) -> bytes:
        """The first line."""
        tree = _HEADER.full(header)
        return _line({"format": FORMAT, "version": FORMAT_VERSION, **tree})

    def tick(self, findings: Findings, skipped: int = 0) -> bytes:
        """The next tick's line; ``skipped`` ticks came before it that are not in the recording."""
        findings = as_recorded(findings)
        before = self._before
        tree = _FINDINGS.full(findings) if before is None else _FINDINGS.change(before, findings)
        line = _line({"skipped": skipped, "tick": tree} if skipped else {"tick": tree})
        self._before = findings
        return line

    @staticmethod
    def end(reason: str, skipped: int = 0) -> bytes:
        """The last line; ``reason`` is "stopped", "limit", "disk_full" or "wear_budget_used"."""
        return _line({"end": reason, "skipped": skipped} if skipped else {"end": reason})


class Recording:
    """A recording that is read: iterate once for its findings, in order.

    ``end`` and ``cut`` are known when the iteration is over: why the recording ends, "stopped",
    "limit", "disk_full" or "wear_budget_used", or, where it does not say so itself, how it breaks
    off. ``skipped`` counts the ticks that are missing between the ones that were given.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.end: str | None = None
        self.cut: str | None = None
        self.skipped = 0
        self._name = name
        self._lines = _Lines(stream, name)
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Findings]:
        try:
            yield from self._ticks()
        finally:
            self._lines.close()

    def _ticks(self) -> Iterator[Findings]:
        before: Findings | None = None
        for number, line in enumerate(self._lines, start=1):
            try:
                tree = json.loads(line)
                if not isinstance(tree, dict) or self.end is not None:
                    raise Malformed("no tick where one belongs")
                self.skipped += int(tree.get("skipped", 0))
                if "end" in tree:
                    self.end = str(tree["end"])
                    continue  # the stream's checksum comes after it
                tick = tree["tick"]
                before = _FINDINGS.load(tick) if before is None else _FINDINGS.apply(before, tick)
            except (ValueError, ArithmeticError, LookupError, TypeError, RecursionError) as error:
                raise RecordingError(f"{self._name}: damaged at tick {number}: {error}") from error
            yield before
        self.cut = self._lines.cut
        if self.end is None and self.cut is None:
            raise RecordingError(f"{self._name}: damaged: it ends without its last line")

    def _read_header(self) -> RecordingHeader:
        try:
            tree: Any = json.loads(next(self._lines, b""))
        except (ValueError, RecursionError):
            tree = None
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise RecordingError(
                f"{self._name}: not a recording of smaxd, or cut off within its first line"
            )
        if tree.get("version") != FORMAT_VERSION:
            raise RecordingError(
                f"{self._name}: recorded in format {tree.get('version')} by smaxd "
                f"{tree.get('smaxd')}; this version reads format {FORMAT_VERSION}"
            )
        try:
            header: RecordingHeader = _HEADER.load(tree)
        except Malformed as error:
            raise RecordingError(f"{self._name}: damaged header: {error}") from error
        wrong = problem(header.learned)
        if wrong is not None:
            raise RecordingError(f"{self._name}: damaged header: {wrong}")
        return header


def open_recording(path: str) -> Recording:
    """Open a recording and read its header; RecordingError when it is none of this format.

    The file is closed when the iteration ends or is given up.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115 - read while the recording is iterated
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return Recording(stream, path)
    except RecordingError:
        stream.close()
        raise


def as_recorded(findings: Findings) -> Findings:
    """The part of the findings that is recorded, exactly; what is left out decides nothing.

    Left out are disks that carry no watched database, and digits of the probes' own times: they
    would be a fourth of the whole recording.
    """
    probes = tuple(
        replace(
            state,
            duration_seconds=_rounded(state.duration_seconds, _DURATION_DIGITS),
            last_success_wall_seconds=_rounded(state.last_success_wall_seconds, _WALL_DIGITS),
        )
        for state in findings.probes
    )
    diskstats = findings.diskstats
    if isinstance(diskstats, Known):
        layers = {
            layer.devnum
            for device in findings.devices
            for layer in (device.sample.device, *device.sample.layers)
        }
        disks = {number: disk for number, disk in diskstats.value.disks.items() if number in layers}
        diskstats = replace(diskstats, value=replace(diskstats.value, disks=disks))
    return replace(findings, probes=probes, diskstats=diskstats)


def _rounded(seconds: float | None, digits: int) -> float | None:
    return None if seconds is None else round(seconds, digits)


_FINDINGS: Final = Codec(Findings, stand_ins=(NOT_RECORDED,), lenient=True)
_HEADER: Final = Codec(RecordingHeader)


def _line(tree: Any) -> bytes:  # noqa: ANN401 - a JSON tree
    # Not msgspec: json keeps infinities, integers of any size and names that are no valid UTF-8.
    return json.dumps(tree, separators=(",", ":")).encode("ascii") + b"\n"


class _Lines:
    """The whole lines of a gzip stream; ``cut`` says how it breaks off, if it does."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.cut: str | None = None
        self._name = name
        self._iterator = self._read(stream)

    def __iter__(self) -> Iterator[bytes]:
        return self._iterator

    def __next__(self) -> bytes:
        return next(self._iterator)

    def close(self) -> None:
        """Close the stream."""
        self._iterator.close()

    def _read(self, stream: BinaryIO) -> Generator[bytes, None, None]:
        inflate = zlib.decompressobj(_GZIP)
        line: list[bytes] = []
        with stream:
            packed = self._more(stream)
            if not packed:
                raise RecordingError(f"{self._name}: is empty")
            if not packed.startswith(_GZIP_MAGIC):
                raise RecordingError(f"{self._name}: not a recording of smaxd")
            while packed and not inflate.eof:
                try:
                    piece = inflate.decompress(packed, _READ_BYTES)
                except zlib.error as error:
                    raise RecordingError(f"{self._name}: damaged: {error}") from error
                *ends, begin = piece.split(b"\n")
                for end in ends:
                    yield b"".join((*line, end))
                    line = []
                line.append(begin)
                if len(line) > MAX_LINE_BYTES // _READ_BYTES:
                    raise RecordingError(f"{self._name}: damaged: a line without an end")
                packed = inflate.unconsumed_tail or self._more(stream)
        if any(line):
            self.cut = "its last tick is incomplete: the daemon was killed, or the file was cut"
        elif not inflate.eof:
            self.cut = "it has no end: the daemon was killed, or still runs"

    def _more(self, stream: BinaryIO) -> bytes:
        try:
            return stream.read(_READ_BYTES)
        except OSError as error:
            raise RecordingError(f"{self._name}: cannot be read: {error.strerror}") from error
