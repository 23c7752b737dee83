"""Reads what fio prints with ``--output-format=json``, versions 3.x.

Source: fio's HOWTO, "JSON output", and stat.c. fio prints notes and error lines before, and
sometimes after, the JSON, to either stream; old versions lack fields; a killed fio prints nothing.
"""

import errno
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from probes.errors import ProbeFailed

OLDEST_VERSION = (3, 0)
"""fio 3.0 began to print latencies in nanoseconds under new names."""

MINIMUM_BANDWIDTH_SAMPLES = 3
"""With fewer of fio's bandwidth samples there is no meaningful spread."""

_MAX_STARTS = 200
"""So many opening braces are tried as the start of the JSON before the text counts as garbage."""

_VERSION = re.compile(r"fio-(\d{1,4})\.(\d{1,4})")
_ERROR_NUMBER = re.compile(r"\berr=\s*(\d{1,4})\b")
_MESSAGE = re.compile(r"^fio: *(?!terminating on signal)(.+)$", re.MULTILINE)
_KILLED = re.compile(r"terminating on signal (\d+)")
_MAX_MESSAGE_CHARACTERS = 200

_REASONS: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("out_of_space", "no space is left for fio's scratch file"),
    errno.EDQUOT: ("out_of_space", "the disk quota leaves no space for fio's scratch file"),
    errno.EROFS: ("read_only_file_system", "fio's scratch directory is on a read-only file system"),
    errno.EACCES: ("scratch_not_writable", "fio may not write its scratch file"),
    errno.EPERM: ("scratch_not_writable", "fio may not write its scratch file"),
    errno.ENOENT: ("scratch_not_writable", "fio's scratch directory is gone"),
    errno.EINVAL: (
        "direct_io_not_supported",
        "the scratch file's file system does not take direct writes",
    ),
}


@dataclass(frozen=True, slots=True)
class FioResult:
    """The write side of one fio job.

    ``spread_ratio`` is standard deviation / mean of fio's bandwidth samples, None when fio took
    fewer than ``MINIMUM_BANDWIDTH_SAMPLES``. Latencies are from submission's end to completion
    (clat). ``steady`` is None when no steady state was asked for.
    """

    fio_version: str
    write_bytes_per_second: float
    spread_ratio: float | None
    latency_p50_seconds: float | None
    latency_p99_seconds: float | None
    runtime_seconds: float
    written_bytes: int
    steady: bool | None


def parse_fio_output(stdout: bytes, stderr: bytes, returncode: int) -> FioResult:
    """Return the result of a run that wrote something, or raise what went wrong.

    Raises ProbeFailed: "fio_killed", "fio_too_old", "out_of_space", "read_only_file_system",
    "scratch_not_writable", "direct_io_not_supported", "fio_garbage", "fio_failed".
    """
    report = _find_report(stdout)
    said = stderr.decode("utf-8", "replace") + "\n" + stdout.decode("utf-8", "replace")
    version = _text(report.get("fio version")) if report is not None else None
    if version is not None and version_too_old(version):
        raise too_old(version)
    job = _first_job(report)
    killed = _KILLED.search(said)
    if returncode < 0 or (returncode != 0 and killed):
        number = -returncode if returncode < 0 else int(killed[1]) if killed else 0
        raise ProbeFailed("fio_killed", f"fio was ended by signal {number} before it was done")
    _raise_for_error(job, said, returncode)
    if report is None:
        shown = " ".join(said.split())[:_MAX_MESSAGE_CHARACTERS]
        raise ProbeFailed(
            "fio_garbage",
            f"fio ended well but printed no JSON report: {shown!r}; try `fio --version`",
        )
    return _result(job, version)


def parse_ended_run(stdout: bytes) -> FioResult | None:
    """Return what fio reported of a run that was ended early; None when it reported nothing.

    On SIGTERM fio ends its jobs and prints the report of what they did until then.
    """
    report = _find_report(stdout)
    version = _text(report.get("fio version")) if report is not None else None
    if report is None or (version is not None and version_too_old(version)):
        return None
    try:
        return _result(_first_job(report), version)
    except ProbeFailed:
        return None


def reported_write_bytes(stdout: bytes) -> int | None:
    """Return the bytes fio says it wrote, also in the report of a failed run; None if unsaid."""
    job = _first_job(_find_report(stdout))
    count = _number(_mapping(job.get("write")).get("io_bytes"))
    return None if count is None else int(count)


def version_too_old(version: str) -> bool:
    """Tell whether ``version`` ("fio-2.21") is older than we can read; unknown forms are not."""
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) < OLDEST_VERSION


def too_old(version: str) -> ProbeFailed:
    """Make the error for an old fio."""
    oldest = ".".join(map(str, OLDEST_VERSION))
    return ProbeFailed("fio_too_old", f"{version} is too old; install fio {oldest} or newer")


def _raise_for_error(job: Mapping[str, object], said: str, returncode: int) -> None:
    number = _number(job.get("error"))
    if not number:
        mentioned = _ERROR_NUMBER.search(said)
        number = int(mentioned[1]) if mentioned else None
    if not number and returncode == 0:
        return
    message = _MESSAGE.search(said)
    first = message[1].strip()[:_MAX_MESSAGE_CHARACTERS] if message else "no message"
    if number and int(number) in _REASONS:
        reason, meaning = _REASONS[int(number)]
        raise ProbeFailed(reason, f"{meaning}; fio says: {first}")
    if not number and not message:
        first = " ".join(said.split())[:_MAX_MESSAGE_CHARACTERS] or "no message"
    why = f" ({os.strerror(int(number))})" if number and int(number) in errno.errorcode else ""
    raise ProbeFailed("fio_failed", f"fio ended with {returncode}{why}: {first}")


def _result(job: Mapping[str, object], version: str | None) -> FioResult:
    write = _mapping(job.get("write"))
    written_bytes = _number(write.get("io_bytes"))
    runtime_milliseconds = _number(write.get("runtime"))
    bandwidth = _number(write.get("bw_bytes"))
    if bandwidth is None:  # before 3.7
        kibibytes = _number(write.get("bw"))
        bandwidth = None if kibibytes is None else kibibytes * 1024
    if not bandwidth and written_bytes and runtime_milliseconds:
        bandwidth = written_bytes * 1000 / runtime_milliseconds
    if not written_bytes or written_bytes < 1 or not bandwidth or bandwidth < 1:
        raise ProbeFailed(
            "fio_garbage", "fio's report has no written bytes or no bandwidth; try `fio --version`"
        )
    if runtime_milliseconds is None:
        runtime_milliseconds = written_bytes / bandwidth * 1000
    mean = _number(write.get("bw_mean"))
    deviation = _number(write.get("bw_dev"))
    samples = _number(write.get("bw_samples"))
    spread_known = (
        mean is not None
        and deviation is not None
        and mean >= 1  # KiB/s
        and (samples is None or samples >= MINIMUM_BANDWIDTH_SAMPLES)
    )
    percentiles = _mapping(_mapping(write.get("clat_ns")).get("percentile"))
    steady_state = job.get("steadystate")
    attained = _number(_mapping(steady_state).get("attained"))
    return FioResult(
        fio_version=version or "unknown",
        write_bytes_per_second=float(bandwidth),
        spread_ratio=deviation / mean if spread_known and deviation and mean else None,
        latency_p50_seconds=_percentile(percentiles, 50.0),
        latency_p99_seconds=_percentile(percentiles, 99.0),
        runtime_seconds=runtime_milliseconds / 1000,
        written_bytes=int(written_bytes),
        steady=None if attained is None else attained > 0,
    )


def _percentile(percentiles: Mapping[str, object], wanted: float) -> float | None:
    """Seconds of one percentile; the keys are numbers with a varying number of decimals."""
    for key, value in percentiles.items():
        nanoseconds = _number(value)
        try:
            if nanoseconds is not None and math.isclose(float(key), wanted):
                return nanoseconds / 1e9
        except ValueError:
            continue
    return None


def _find_report(stdout: bytes) -> Mapping[str, object] | None:
    """Find the JSON object that is fio's report, whatever is printed before or after it."""
    text = stdout.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    start = -1
    for _ in range(_MAX_STARTS):
        start = text.find("{", start + 1)
        if start < 0:
            return None
        try:
            value, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and "jobs" in value:
            return value
    return None


def _first_job(report: Mapping[str, object] | None) -> Mapping[str, object]:
    jobs = report.get("jobs") if report is not None else None
    return _mapping(jobs[0]) if isinstance(jobs, list) and jobs else {}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    """Return a finite, non-negative number; counts stay integers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LARGEST and math.isfinite(value) else None


_LARGEST = 2**63
