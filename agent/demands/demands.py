"""What one put costs each resource, measured from outside: the demands of operational analysis.

Interface: one ``DemandEstimator`` per database incarnation; ``update(findings, observed)`` once a
tick gives frozen ``Demands``. Bytes and busy seconds come from the LOG's events (its history too,
so that a first answer exists within seconds), CPU from the events and from the owner's threads.
Pure; the LOG is added up again only when it tells something new.
"""

from typing import Final

from agent import workload
from agent.demands.compaction_debt import DebtTrend, owed_bytes
from agent.demands.compaction_work import (
    CompactionWork,
    FlushWork,
    compaction_work,
    flush_work,
)
from agent.demands.cpu_work import CpuDemands, CpuWork
from agent.demands.key_space import KeySpace, key_space
from agent.demands.ratio_estimate import Ratio, joint_spread
from agent.demands.steady_demand import steady_written_bytes
from agent.demands.values import Demand, Demands, Measured
from agent.demands.wal_sync import ABSENT, WalSyncs
from agent.findings import DatabaseFindings
from agent.inputs.tree_options import resolved_tree
from agent.models.lsm import TreeOptions
from agent.readings import Known, Missing, Quantity, value_of
from probes.rocksdb.samples import LogSample
from probes.samples import DiskCounters

__all__ = ["Demand", "DemandEstimator", "Demands", "Measured"]

WAL_HEADER_BYTES: Final = 19.0
"""Header of a record (7) and of the write batch in it (12: sequence and count; db/log_format.h,
db/write_batch.cc)."""

WAL_HEADER_SHARE: Final = 0.75
"""Puts of one batch or write group share that header. How many do cannot be told from outside;
between one (1) and many (0.5 and less), the headers weigh little beside the record."""

IDLE_PUTS_PER_SECOND: Final = 1.0
"""Below this a put's share of what runs anyway (timers, statistics) says nothing about a put."""


class DemandEstimator:
    """Follows one incarnation of a database from tick to tick."""

    def __init__(self) -> None:
        self._cpu = CpuWork()
        self._debt = DebtTrend()
        self._trees: tuple[object, dict[str, TreeOptions]] = (None, {})
        self._log_key: tuple[int, ...] | None = None
        self._flushed: FlushWork | None = None
        self._compacted: CompactionWork | None = None
        self._key_space: KeySpace | None = None
        self._wal_syncs = WalSyncs()

    def update(
        self,
        findings: DatabaseFindings,
        observed: Quantity,
        device: Known[DiskCounters] | Missing = ABSENT,
    ) -> Demands | Missing:
        """Take one tick's findings into account; Missing for a database without puts.

        ``observed`` is its put rate, ``device`` the counters of the device that carries it.
        """
        debt_bytes, debt_clear_seconds = self._follow_debt(findings)
        self._add_up(findings.log)
        work, merged = self._flushed, self._compacted
        record = _record(findings, work)
        wal_enabled = _wal_enabled(findings, work)
        wal = _wal_bytes(record, wal_enabled)
        counters, no_counters = self._follow_counters(findings, observed, wal)
        if isinstance(observed, Known) and observed.value < IDLE_PUTS_PER_SECOND and work is None:
            return Missing("idle", "no puts now, and no flush in the recent part of the LOG")
        log, at = findings.log, findings.log.at if isinstance(findings.log, Known) else 0.0
        no_flush = log if isinstance(log, Missing) else _NO_FLUSH
        no_merge = log if isinstance(log, Missing) else _NO_MERGE

        def flush(ratio: Ratio | None) -> Demand:
            return _demand(ratio, "log flush events", at, no_flush)

        def merge(ratio: Ratio | None) -> Demand:
            return _demand(ratio, "log compaction events", at, no_merge)

        def count(ratio: Ratio | None) -> Demand:
            counted = counters.at if counters else 0.0
            return _demand(ratio, "owner's counters", counted, no_counters)

        memtable_entry = flush(work.user_bytes_per_entry if work else None)
        flush_cpu, compaction_cpu = (
            count(counters.flush if counters else None),
            count(counters.compaction if counters else None),
        )
        read = merge(merged.read_per_put if merged else None)
        return Demands(
            column_family=work.column_family if work else None,
            column_family_share=work.column_family_share if work else 1.0,
            window_seconds=merged.window_seconds if merged else 0.0,
            cycles=merged.cycles if merged else 0,
            record_bytes=record,
            key_bytes=flush(work.key_bytes if work else None),
            wal_bytes=wal,
            memtable_bytes=flush(work.memory_per_entry if work else None),
            flush_written_bytes=flush(work.written_per_entry if work else None),
            compaction_written_bytes=steady_written_bytes(findings, work, merged, no_merge),
            compaction_read_bytes=read,
            process_written_bytes=count(counters.written_bytes if counters else None),
            reaching_share=count(counters.reaching_share if counters else None),
            flush_cpu_seconds=flush_cpu,
            compaction_cpu_seconds=compaction_cpu,
            foreground_cpu_seconds=count(counters.foreground if counters else None),
            foreground_runs=count(counters.runs if counters else None),
            foreground_busy_threads=counters.busy_threads if counters else no_counters,
            flush_entries=flush(work.entries_per_flush if work else None),
            flush_output_ratio=flush(work.output_per_user_byte if work else None),
            compaction_output_ratio=merge(merged.output_ratio if merged else None),
            merge_into_last_output_ratio=merge(merged.last_output_ratio if merged else None),
            overlap_ratio=merge(merged.overlap_ratio if merged else None),
            level0_files_per_merge=merge(merged.level0_files_per_merge if merged else None),
            flush_cpu_seconds_per_byte=_first(
                flush(work.cpu_per_user_byte if work else None),
                _quotient(flush_cpu, memtable_entry),
            ),
            compaction_cpu_seconds_per_byte=_first(
                merge(merged.cpu_per_byte if merged else None), _quotient(compaction_cpu, read)
            ),
            level0_output_share=merged.level0_output_share if merged else None,
            wal_enabled=wal_enabled,
            debt_bytes=debt_bytes,
            debt_clear_seconds=debt_clear_seconds,
            key_space=self._key_space,
            wal_sync_seconds=self._follow_syncs(findings, device, counters),
        )

    def _follow_counters(
        self, findings: DatabaseFindings, observed: Quantity, wal: Demand
    ) -> tuple[CpuDemands | None, Missing]:
        process = findings.process
        if isinstance(process, Missing):
            return None, process
        if findings.shares_process:
            return None, Missing(
                "process_shared", "the owner process has other watched databases open"
            )
        sequence = first_sequence(findings)
        if isinstance(sequence, Missing):
            return None, sequence
        exact = isinstance(findings.wal, Known)
        log = findings.log
        counted = self._cpu.update(
            process.value,
            sequence.value,
            exact=exact,
            table_bytes=(
                log.value.flush_output_bytes + log.value.compaction_output_bytes
                if isinstance(log, Known) and log.value.has_events
                else None
            ),
            wal_bytes_per_put=wal.value if isinstance(wal, Measured) else None,
        )
        if isinstance(observed, Known) and observed.value < IDLE_PUTS_PER_SECOND:
            return counted, Missing("idle", "no puts by which the process's work could be divided")
        return counted, Missing(
            "not_yet_measured", "the process's work per put needs readings some seconds apart"
        )

    def _follow_syncs(
        self,
        findings: DatabaseFindings,
        device: Known[DiskCounters] | Missing,
        counters: CpuDemands | None,
    ) -> Demand:
        wal = findings.wal
        if isinstance(wal, Missing):
            return wal
        threads = None if counters is None else value_of(counters.busy_threads)
        return self._wal_syncs.update(device, wal.value.last_sequence, threads)

    def _follow_debt(self, findings: DatabaseFindings) -> tuple[Quantity, Quantity]:
        manifest, options = findings.manifest, findings.options
        if isinstance(manifest, Missing):
            return manifest, manifest
        if isinstance(options, Missing):
            return options, options
        families = options.value.column_families
        if self._trees[0] is not families:
            # The probe keeps the tuple until the file changes; there may be hundreds of families.
            trees = {
                family.name: resolved_tree(options.value, family)
                for family in families
                if family.compaction_style != "fifo"
            }
            self._trees = (families, trees)
        total = sum(
            owed_bytes(shape.levels, self._trees[1][shape.name])
            for shape in manifest.value.column_families
            if shape.name in self._trees[1]
        )
        clear = self._debt.clear_seconds(manifest.at, total)
        return Known(total, "manifest and options", manifest.at), clear

    def _add_up(self, log: Known[LogSample] | Missing) -> None:
        if isinstance(log, Missing):
            self._log_key, self._flushed, self._compacted = None, None, None
            self._key_space = None
            return
        sample = log.value
        key = (
            sample.flushes,
            sample.compactions,
            len(sample.recent_moves),
            # The oldest events are dropped as they grow old, also while nothing new comes.
            len(sample.recent_flushes),
            len(sample.recent_compactions),
        )
        if key == self._log_key:
            return
        self._log_key = key
        self._flushed = flush_work(sample)
        family = self._flushed.column_family if self._flushed else None
        self._compacted = compaction_work(sample, family)
        self._key_space = key_space(sample.recent_compactions, family)


_NO_FLUSH = Missing("no_recent_flush", "the LOG tells of no flush in the last minutes")
_NO_MERGE = Missing("no_recent_compaction", "fewer than two compactions of level 0 in the LOG")


def first_sequence(findings: DatabaseFindings) -> Known[int] | Missing:
    """The sequence number, from the WAL or else the MANIFEST."""
    if isinstance(findings.wal, Known):
        return Known(findings.wal.value.last_sequence, "wal", findings.wal.at)
    if isinstance(findings.manifest, Known):
        return Known(findings.manifest.value.last_sequence, "manifest", findings.manifest.at)
    return findings.wal


def _demand(ratio: Ratio | None, source: str, at: float, absence: Missing) -> Demand:
    if ratio is None:
        return absence
    return Measured(ratio.value, ratio.spread_ratio, source, at, ratio.terms)


def _first(demand: Demand, other: Demand) -> Demand:
    return demand if isinstance(demand, Measured) or isinstance(other, Missing) else other


def _quotient(top: Demand, bottom: Demand) -> Demand:
    if isinstance(top, Missing):
        return top
    if isinstance(bottom, Missing):
        return bottom
    if bottom.value <= 0:
        return Missing("nothing_done", "no bytes by which the work could be divided")
    return Measured(
        top.value / bottom.value,
        joint_spread(top.spread_ratio, bottom.spread_ratio),
        f"{top.source} over {bottom.source}",
        min(top.at, bottom.at),
        min(top.terms, bottom.terms),
    )


def _record(findings: DatabaseFindings, work: FlushWork | None) -> Demand:
    if findings.pinned_record_size_bytes is not None:
        at = findings.log.at if isinstance(findings.log, Known) else 0.0
        return Measured(findings.pinned_record_size_bytes, 0.0, "config", at, 1)
    size = workload.record_size(findings.log, findings.wal)
    if isinstance(size, Missing):
        tables = work.key_and_value_bytes if work else None
        at = findings.log.at if isinstance(findings.log, Known) else 0.0
        return _demand(tables, "log table properties", at, size)
    entry = work.user_bytes_per_entry if work and size.source == "log flush events" else None
    return Measured(
        size.value,
        entry.spread_ratio if entry else None,
        size.source,
        size.at,
        entry.terms if entry else 1,
    )


def _wal_enabled(findings: DatabaseFindings, work: FlushWork | None) -> bool | None:
    """Whether puts go through the WAL; None when it cannot be told.

    WriteOptions.disableWAL is not an option of the database: what shows it is that flushes carry
    sequence numbers that the WAL has never seen.
    """
    wal, manifest = findings.wal, findings.manifest
    if isinstance(wal, Missing):
        if wal.reason == "wal_compressed":
            return True
        written = work is not None or (isinstance(manifest, Known) and manifest.value.last_sequence)
        return False if wal.reason in ("wal_empty", "no_wal") and written else None
    if isinstance(manifest, Missing):
        return True
    entries = work.entries_per_flush.value if work and work.entries_per_flush else 0.0
    # Both are read within a tick of each other: one flush's entries are not enough to tell.
    return manifest.value.last_sequence - wal.value.last_sequence <= max(1000.0, 2.0 * entries)


def _wal_bytes(record: Demand, wal_enabled: bool | None) -> Demand:
    if isinstance(record, Missing):
        return record
    if wal_enabled is False:
        return Measured(0.0, 0.0, "wal not used", record.at, record.terms)
    headers = WAL_HEADER_BYTES * WAL_HEADER_SHARE
    size = record.value + workload.wal_overhead_bytes(record.value) + headers
    unsure = headers / 2.0 / size
    spread = None if record.spread_ratio is None else max(record.spread_ratio, unsure)
    return Measured(size, spread, record.source, record.at, record.terms)
