"""What a calibration imitates: the watched database's options and records, read from outside."""

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from agent.calibrate.guard import read_options_text
from agent.calibrate.options import parse
from agent.calibrate.plan import (
    DEFAULT_VALUE_BYTES,
    KEY_BYTES,
    KeyOrder,
    batch_puts,
    incompressible_ratio,
    key_and_value_bytes,
)
from agent.calibrate.result import Records
from agent.learning.observation import options_key
from agent.readings import Known, Missing
from agent.workload import record_size
from probes.clock import Clock
from probes.errors import NoData, ProbeError
from probes.rocksdb.fingerprint import FingerprintProbe
from probes.rocksdb.log import LogProbe
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.options import OptionsProbe, as_reached
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import LogSample, WalSample
from probes.rocksdb.wal import WalProbe

WAL_LOOKS: Final = 3
WAL_LOOK_SECONDS: Final = 0.2
"""A WAL is empty for a moment after every switch; it stays so where writes go without it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """``path`` None: no database, defaults. ``options_text`` None: the library's defaults."""

    path: str | None
    options_text: str | None
    options_key: str | None
    family: str
    version: str | None
    table_bytes: float | None
    records: Records
    notes: tuple[str, ...]


def read_subject(
    path: str | None,
    value_bytes: int | None,
    wal: bool | None,
    key_order: KeyOrder,
    clock: Clock,
) -> Subject:
    """Read the database at ``path``; what is given explicitly goes before what is found.

    Raises ProbeError when ``path`` is no readable database. What cannot be read of it is replaced
    by a default, and ``notes`` say so.
    """
    if path is None:
        return Subject(
            None, None, None, "default", None, None, _defaults(value_bytes, wal, key_order), ()
        )
    fingerprint = FingerprintProbe(path, clock).read()
    notes: list[str] = []
    options, text = _options(path, clock, notes)
    log = _log(path, None if options is None else options.db_log_dir, clock)
    wal_dir = None if options is None or options.wal_dir is None else options.wal_dir
    wal_probe = WalProbe(path, clock, wal_dir and as_reached(wal_dir, path))
    tail = _wal(wal_probe)
    family = _family(text, log, notes)
    size = record_size(log, tail)
    if value_bytes is not None:
        key, value, source = KEY_BYTES, value_bytes, "given"
    elif isinstance(size, Known):
        key, value = key_and_value_bytes(size.value)
        source = size.source
    else:
        key, value, source = KEY_BYTES, DEFAULT_VALUE_BYTES, "default"
        notes.append(f"record size unknown ({size.detail}): {key + value} bytes are taken")
    if wal is None:
        wal = not _writes_without_wal(wal_probe, log, live=fingerprint.owner_pid is not None)
        if not wal:
            notes.append("the database writes without a WAL, and so does the scratch one")
    return Subject(
        path=path,
        options_text=text,
        options_key=None if options is None else options_key(options),
        family=family,
        version=None if options is None else options.rocksdb_version,
        table_bytes=_table_bytes(path, clock),
        records=Records(
            key_bytes=key,
            value_bytes=value,
            incompressible_ratio=_incompressible(text, family, log),
            key_order=key_order,
            batch_puts=batch_puts(key + value),
            wal_enabled=wal,
            source=source,
        ),
        notes=tuple(notes),
    )


def _defaults(value_bytes: int | None, wal: bool | None, key_order: KeyOrder) -> Records:
    value = DEFAULT_VALUE_BYTES if value_bytes is None else value_bytes
    return Records(
        key_bytes=KEY_BYTES,
        value_bytes=value,
        incompressible_ratio=1.0,
        key_order=key_order,
        batch_puts=batch_puts(KEY_BYTES + value),
        wal_enabled=wal is not False,
        source="default" if value_bytes is None else "given",
    )


def _options(path: str, clock: Clock, notes: list[str]) -> tuple[OptionsSample | None, str | None]:
    try:
        options = OptionsProbe(path, clock).read()
        return options, read_options_text(path, options)
    except (ProbeError, OSError) as error:
        detail = error.detail if isinstance(error, ProbeError) else str(error)
        notes.append(f"options unknown ({detail}): the library's defaults are taken")
        return None, None


def _log(path: str, db_log_dir: str | None, clock: Clock) -> Known[LogSample] | Missing:
    probe = LogProbe(path, clock, db_log_dir)
    try:
        return Known(probe.read(), "log", clock.monotonic())
    except ProbeError as error:
        return Missing(error.reason, error.detail)
    finally:
        probe.close()


def _wal(probe: WalProbe) -> Known[WalSample] | Missing:
    try:
        sample = probe.read()
    except ProbeError as error:
        return Missing(error.reason, error.detail)
    return Known(sample, "wal", sample.at)


def _family(text: str | None, log: Known[LogSample] | Missing, notes: list[str]) -> str:
    """The column family that most of what the LOG remembers was written to."""
    families = ("default",) if text is None else parse(text).families()
    chosen = "default" if "default" in families or not families else families[0]
    if len(families) < 2:
        return chosen
    written: Counter[str] = Counter()
    if isinstance(log, Known):
        for flush in log.value.recent_flushes:
            if flush.column_family in families:
                written[flush.column_family] += flush.user_bytes or flush.output_bytes
    if written:
        chosen = written.most_common(1)[0][0]
    notes.append(
        f"of {len(families)} column families one is imitated: {chosen}"
        + ("" if written else " (the LOG does not say which is written to)")
    )
    return chosen


def _incompressible(text: str | None, family: str, log: Known[LogSample] | Missing) -> float:
    if text is None or isinstance(log, Missing):
        return 1.0
    compression = parse(text).value("compression", family) or "kNoCompression"
    user = sum(flush.user_bytes or 0 for flush in log.value.recent_flushes)
    output = sum(flush.output_bytes for flush in log.value.recent_flushes if flush.user_bytes)
    if not user:
        user, output = log.value.user_bytes or 0, log.value.flush_output_bytes
    return incompressible_ratio(output, user, compressed=compression != "kNoCompression")


def _writes_without_wal(probe: WalProbe, log: Known[LogSample] | Missing, *, live: bool) -> bool:
    """A live database that flushed lately while its WAL stays empty."""
    if not live or isinstance(log, Missing) or not log.value.recent_flushes:
        return False
    for look in range(WAL_LOOKS):
        if look:
            time.sleep(WAL_LOOK_SECONDS)
        try:
            probe.read()
        except NoData as error:
            if error.reason not in {"no_wal", "wal_empty"}:
                return False
        except ProbeError:
            return False
        else:
            return False
    return True


def _table_bytes(path: str, clock: Clock) -> float | None:
    probe = ManifestProbe(os.path.realpath(path), clock)
    while True:
        try:
            return float(probe.read().total_bytes)
        except NoData as error:
            if error.reason != "manifest_catching_up":
                return None
        except ProbeError:
            return None
