"""Ticks of a captured database, and recordings made of them in memory."""

import io
import zlib
from collections.abc import Iterable
from functools import cache

from agent.config import Config
from agent.findings import Findings
from agent.recording.recording import HostFacts, Recording, RecordingHeader, TickEncoder
from probes.rocksdb.log_state import LogState
from tests.unit.agent_samples import (
    MIB,
    ROCKSDB,
    a_fio,
    a_process,
    a_wal,
    captured_manifest,
    captured_options,
    database_findings,
    device_findings,
    disk_counters,
    diskstats,
    findings_of,
    known,
    probe_state,
)

HEADER = RecordingHeader("1.2.3", 1.7e9, Config(tick_seconds=2.0), HostFacts(cores=2))

PIECES = 12
"""Ticks that a captured LOG is spread over."""


@cache
def captured_ticks(name: str, keep_seconds: float = 5.0) -> tuple[Findings, ...]:
    """A captured database as if its LOG had grown while it was watched, 10 s from tick to tick.

    Events leave the recent ones after ``keep_seconds`` of the LOG's own time.
    """
    log = LogState(keep_seconds)
    lines = (ROCKSDB / name / "LOG").read_bytes().splitlines(keepends=True)
    size = -(-len(lines) // PIECES)
    ticks = []
    for number in range(PIECES):
        log.feed(b"".join(lines[number * size : (number + 1) * size]))
        at, wall = 10.0 * number + 0.123456789, log.last_wall_seconds or 0.0
        database = database_findings(
            log=known(log.sample(at, "/db/LOG", wall), at),
            manifest=known(captured_manifest(name), at),
            options=known(captured_options(name), at),
            wal=a_wal(at, 10_000 * number),
            process=a_process(at, int(number * MIB)),
        )
        disks = [
            disk_counters(number * 100 * MIB),
            disk_counters(number * MIB, name="sdb", devnum="8:16"),
        ]
        ticks.append(
            findings_of(
                at,
                wall_seconds=wall,
                databases=(database,) if number else (),
                devices=(device_findings(fio=known(a_fio(0.0, 100 * MIB))),),
                diskstats=diskstats(at, *disks),
                probes=(probe_state("log", "orders", success=True),),
                written_bytes={("sda", "fio"): number},
            )
        )
    return tuple(ticks)


def packed(lines: Iterable[bytes]) -> bytes:
    """A gzip stream flushed after every line, as the recorder writes it."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    pieces = [deflate.compress(line) + deflate.flush(zlib.Z_SYNC_FLUSH) for line in lines]
    return b"".join(pieces) + deflate.flush()


def recording_bytes(ticks: Iterable[Findings], header: RecordingHeader = HEADER) -> bytes:
    """A whole recording of these ticks."""
    encoder = TickEncoder()
    lines = [encoder.header(header), *map(encoder.tick, ticks), encoder.end("stopped")]
    return packed(lines)


def read_back(raw: bytes) -> Recording:
    return Recording(io.BytesIO(raw), "x.rec")
