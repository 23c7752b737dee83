"""Options and shape of the tree that the models work on, with documented fallbacks. Pure."""

from typing import Final

import msgspec

from agent.demands.demands import Demands
from agent.findings import DatabaseFindings
from agent.inputs.fallbacks import Fallbacks
from agent.inputs.tree_options import NEVER, column_family_options, rate_limiter_rate, resolved_tree
from agent.models.lsm import TreeOptions, TreeShape
from agent.readings import Known, Missing
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample

SPREAD_NO_OPTIONS: Final = 0.5  # jobs 2 or 8, memtables of 16 or 256 MiB: a factor of about 3
SPREAD_UNKNOWN_STYLE: Final = 0.5  # leveled writes two to three times what universal does
SPREAD_NO_COMPACTION: Final = 0.25  # FIFO, no automatic compaction: ends when the disk is full
SPREAD_BLOB_FILES: Final = 0.5  # values leave the tree; garbage collection writes them again
SPREAD_TIERED: Final = 0.4  # the last level lies on another device
SPREAD_RATE_LIMITER: Final = 0.35  # one is configured and its rate is not known: may be the limit
SPREAD_INFERRED_LIMITER: Final = 0.1
SPREAD_OTHER_FAMILIES: Final = 0.5  # times the share of bytes that goes to other shapes

FASTER_THAN_LIMITER: Final = 1.2
"""A compaction that wrote this much faster than the rate taken for the limiter's disproves it; less
is what the limiter's refill lets through at once."""

LEAST_CHECK_SECONDS: Final = 1.0
"""A shorter compaction may have lived on the limiter's unused allowance."""


def tree_options(findings: DatabaseFindings, demands: Demands, notes: Fallbacks) -> TreeOptions:
    """The options in force of the column family that most of the bytes go to."""
    wal_enabled = demands.wal_enabled is not False
    if demands.wal_enabled is None:
        notes.note("wal", "whether puts go through the WAL cannot be told", "they do", 0.05)
    options = findings.options
    if isinstance(options, Missing):
        notes.note("options", options.detail, "RocksDB's default options", SPREAD_NO_OPTIONS)
        return TreeOptions(wal_enabled=wal_enabled)
    family = column_family_options(options.value, demands.column_family)
    if family is None:
        notes.note(
            "options",
            f"{options.value.file_name} does not have column family {demands.column_family!r}",
            "RocksDB's default options",
            SPREAD_NO_OPTIONS,
        )
        return TreeOptions(wal_enabled=wal_enabled)
    notes.sources["options"] = options.value.file_name
    tree = resolved_tree(options.value, family, wal_enabled=wal_enabled)
    tree = _limited(tree, findings, options.value, notes)
    return _known_style(tree, family, notes)


def _limited(
    tree: TreeOptions, findings: DatabaseFindings, options: OptionsSample, notes: Fallbacks
) -> TreeOptions:
    configured = findings.log.value.rate_limiter if isinstance(findings.log, Known) else None
    if not configured:
        return tree
    rate = rate_limiter_rate(options, configured=configured)
    if rate is None or _exceeded(findings, rate):
        notes.note(
            "rate_limiter",
            "a rate limiter is configured, and its rate is told nowhere outside the process",
            "not the limit",
            SPREAD_RATE_LIMITER,
        )
        return tree
    notes.note(
        "rate_limiter",
        "the rate limiter's own rate is told nowhere outside the process",
        "delayed_write_rate, which RocksDB takes from the limiter unless it is set",
        SPREAD_INFERRED_LIMITER,
    )
    return msgspec.structs.replace(tree, rate_limiter_bytes_per_second=rate)


def _exceeded(findings: DatabaseFindings, rate: float) -> bool:
    """Whether a compaction was faster than that, so that it cannot be the limiter's rate."""
    if isinstance(findings.log, Missing):
        return False
    return any(
        compaction.duration_seconds >= LEAST_CHECK_SECONDS
        and compaction.output_bytes / compaction.duration_seconds > FASTER_THAN_LIMITER * rate
        for compaction in findings.log.value.recent_compactions
    )


def _known_style(tree: TreeOptions, family: ColumnFamilyOptions, notes: Fallbacks) -> TreeOptions:
    """What the models do not know: other styles, values outside the tree, other devices."""
    if family.enable_blob_files:
        notes.note(
            "blob_files",
            "large values are kept outside the tree (enable_blob_files)",
            "compacted like the rest, by the bytes measured",
            SPREAD_BLOB_FILES,
        )
    if family.last_level_temperature is not None or family.preclude_last_level_data_seconds:
        notes.note(
            "tiered_storage",
            "the last level is kept on other storage, whose device is not known",
            "all levels on the data directory's device",
            SPREAD_TIERED,
        )
    if family.compaction_style == "fifo" or family.disable_auto_compactions:
        why = "FIFO compaction" if family.compaction_style == "fifo" else "no auto compactions"
        notes.note("compaction_style", why, "flushes only, nothing merged", SPREAD_NO_COMPACTION)
        return msgspec.structs.replace(
            tree,
            style="universal",
            level_compaction_dynamic_level_bytes=False,
            level0_file_num_compaction_trigger=NEVER,
            level0_slowdown_writes_trigger=NEVER,
            level0_stop_writes_trigger=NEVER,
        )
    if family.compaction_style is None:
        notes.note(
            "compaction_style",
            "the OPTIONS name a compaction style that is not known here",
            "leveled compaction",
            SPREAD_UNKNOWN_STYLE,
        )
    return tree


def tree_shape(
    findings: DatabaseFindings, demands: Demands, tree: TreeOptions, notes: Fallbacks
) -> TreeShape | Missing:
    """Bytes and files by level, from the MANIFEST or else the LOG."""
    manifest, log = findings.manifest, findings.log
    name = demands.column_family or "default"
    if demands.column_family_share < 0.9:
        notes.note(
            "other_column_families",
            f"{1 - demands.column_family_share:.0%} of what is flushed goes to others than {name}",
            f"the shape and options of {name}",
            SPREAD_OTHER_FAMILIES * (1 - demands.column_family_share),
        )
    if isinstance(manifest, Known):
        notes.sources["shape"] = manifest.source
        notes.at = min(notes.at, manifest.at)
        families = manifest.value.column_families
        family = next((f for f in families if f.name == name), None)
        if family is None and families:
            family = max(families, key=lambda f: sum(level.bytes for level in f.levels))
        levels = family.levels if family else ()
        return TreeShape(
            tuple(float(level.bytes) for level in levels), tuple(level.files for level in levels)
        )
    if isinstance(log, Known) and (files := log.value.level_files.get(name)):
        notes.note(
            "shape",
            manifest.detail,
            "files per level of the LOG, of the size that the OPTIONS aim at",
            0.2,
        )
        sizes = [tree.write_buffer_bytes] + [
            tree.target_file_size_base * tree.target_file_size_multiplier**level
            for level in range(len(files) - 1)
        ]
        return TreeShape(
            tuple(count * size for count, size in zip(files, sizes, strict=True)), tuple(files)
        )
    return manifest
