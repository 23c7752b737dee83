"""The OPTIONS file of the scratch database, made from the watched one's: pure text.

``scratch_options(watched, known, family)`` keeps everything that decides about performance, leaves
out what the library at hand does not know, replaces what belongs to the application (comparator,
merge operator, filters), and never lets a path through: a ``wal_dir`` or ``db_log_dir`` taken over
would make the scratch database write beside the watched one. Format: RocksDB
options/options_parser.cc.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from agent.calibrate.result import OptionChange

_SECTION = re.compile(r'\[\s*([^"\]]*?)\s*(?:"(.*)")?\s*\]', re.DOTALL)

_PATHS: Final = frozenset({"wal_dir", "db_log_dir", "db_paths", "cf_paths"})

_HOUSEKEEPING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "create_if_missing": "true",
        "create_missing_column_families": "false",
        "error_if_exists": "true",
        "info_log_level": "INFO_LEVEL",
        "max_log_file_size": "0",
        "log_file_time_to_roll": "0",
        "avoid_flush_during_shutdown": "true",
    }
)
"""Set without a word: they do not change what is measured, and the LOG is the measurement."""

_NEEDED_DATABASE: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "use_direct_io_for_flush_and_compaction": (
            "true",
            "the page cache would take a short run's writes",
        ),
        "persist_stats_to_disk": ("false", "it would write beside the puts"),
        "WAL_ttl_seconds": ("0", "archived WALs would fill the disk"),
        "WAL_size_limit_MB": ("0", "archived WALs would fill the disk"),
        "allow_2pc": ("false", "no transactions here"),
        "wal_filter": ("nullptr", "belongs to the application"),
        "file_checksum_gen_factory": ("nullptr", "belongs to the application"),
    }
)

_NEEDED_FAMILY: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "merge_operator": ("nullptr", "belongs to the application"),
        "compaction_filter": ("nullptr", "belongs to the application"),
        "compaction_filter_factory": ("nullptr", "belongs to the application"),
        "sst_partitioner_factory": ("nullptr", "belongs to the application"),
        "table_properties_collectors": ("", "belongs to the application"),
        "memtable_insert_with_hint_prefix_extractor": ("nullptr", "belongs to the application"),
    }
)

READAHEAD_BYTES: Final = 2097152
"""What ``compaction_readahead_size`` becomes where it is 0 in a file that has an access hint for
compaction inputs: those versions then leave reading ahead to the system, while the library at hand,
which has no such hint any more, would read block by block. The value is its default (options.h)."""

NEWEST_FORMAT_VERSION: Final = 6
"""Of block-based tables, in RocksDB 9.8 (table/block_based/block_based_table_factory.cc)."""

NEWER_VERSION: Final = "99.0.0"
"""RocksDB passes over unknown fields within an option only in files of a newer version than its own
(options/options_parser.cc), whatever it is told about unknown options."""

_BUILT_IN_COMPARATORS: Final = frozenset(
    {"leveldb.BytewiseComparator", "rocksdb.ReverseBytewiseComparator"}
)
_BUILT_IN_EXTRACTORS: Final = ("nullptr", "rocksdb.FixedPrefix", "rocksdb.CappedPrefix", "fixed:")

DECISIVE: Final = (
    "compaction_style",
    "write_buffer_size",
    "max_write_buffer_number",
    "min_write_buffer_number_to_merge",
    "level0_file_num_compaction_trigger",
    "level0_slowdown_writes_trigger",
    "level0_stop_writes_trigger",
    "max_bytes_for_level_base",
    "max_bytes_for_level_multiplier",
    "level_compaction_dynamic_level_bytes",
    "target_file_size_base",
    "soft_pending_compaction_bytes_limit",
    "hard_pending_compaction_bytes_limit",
    "compression",
    "max_background_jobs",
    "max_background_compactions",
    "max_background_flushes",
    "max_subcompactions",
    "delayed_write_rate",
    "wal_bytes_per_sync",
)
"""The options that a result names, in this order."""


@dataclass(frozen=True, slots=True)
class OptionsText:
    """An OPTIONS file's sections, values still as text; ``sections`` by (title, argument)."""

    version: str | None
    sections: Mapping[tuple[str, str], Mapping[str, str]]

    def families(self) -> tuple[str, ...]:
        """Names of the column families."""
        return tuple(argument for title, argument in self.sections if title == "CFOptions")

    def value(self, name: str, family: str = "default") -> str | None:
        """An option of the database or of one column family."""
        database = self.sections.get(("DBOptions", ""), {})
        return database.get(name, self.sections.get(("CFOptions", family), {}).get(name))


@dataclass(frozen=True, slots=True)
class ScratchOptions:
    """``text`` for the OPTIONS file; what was changed or left out; the watched file's digest."""

    text: str
    changes: tuple[OptionChange, ...]
    digest: str | None


def parse(text: str) -> OptionsText:
    """Split an OPTIONS file into sections; lines that are neither are passed over."""
    version: str | None = None
    sections: dict[tuple[str, str], dict[str, str]] = {}
    section: dict[str, str] = {}
    for raw in text.split("\n"):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        heading = _SECTION.fullmatch(line)
        if heading:
            section = sections.setdefault((heading[1], heading[2] or ""), {})
            continue
        name, equals, value = line.partition("=")
        if equals:
            section[name.strip()] = value.strip()
    version = sections.get(("Version", ""), {}).get("rocksdb_version")
    return OptionsText(version, sections)


def digest(text: str) -> str:
    """Tell one set of options from another; their order in the file plays no part."""
    lines = sorted(
        f"{key}\0{name}\0{value}"
        for key, values in parse(text).sections.items()
        for name, value in values.items()
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def scratch_options(watched: str | None, known: str, family: str = "default") -> ScratchOptions:
    """The scratch database's options.

    ``watched`` is the watched database's OPTIONS file, None for the library's defaults. ``known``
    is the file that the library writes for a default database: what it lists it knows. Of the
    watched column families only ``family`` is taken, as "default".
    """
    library = parse(known)
    source = library if watched is None else parse(watched)
    changes: list[OptionChange] = []
    database = dict(source.sections.get(("DBOptions", ""), {}))
    columns = dict(source.sections.get(("CFOptions", family), {}))
    tables = {
        title: dict(values)
        for (title, argument), values in source.sections.items()
        if title.startswith("TableOptions/") and argument == family
    }
    for name in _PATHS & database.keys():
        database.pop(name)
    for name in _PATHS & columns.keys():
        columns.pop(name)
    if watched is not None:
        if "access_hint_on_compaction_start" in database:
            _read_ahead(database, changes)
        _drop_unknown(database, library.sections.get(("DBOptions", ""), {}), changes)
        _drop_unknown(columns, library.sections.get(("CFOptions", "default"), {}), changes)
        for title, values in tables.items():
            known_values = library.sections.get((title, "default"))
            if known_values is not None:
                _drop_unknown(values, known_values, changes)
    database.update(_HOUSEKEEPING)
    _replace(database, _NEEDED_DATABASE, changes)
    _replace(columns, {n: v for n, v in _NEEDED_FAMILY.items() if n in columns}, changes)
    if columns.get("comparator", "leveldb.BytewiseComparator") not in _BUILT_IN_COMPARATORS:
        _replace(
            columns,
            {"comparator": ("leveldb.BytewiseComparator", "belongs to the application")},
            changes,
        )
    if not columns.get("prefix_extractor", "nullptr").startswith(_BUILT_IN_EXTRACTORS):
        _replace(columns, {"prefix_extractor": ("nullptr", "belongs to the application")}, changes)
    for values in tables.values():
        version = values.get("format_version", "0")
        if version.isdigit() and int(version) > NEWEST_FORMAT_VERSION:
            reason = "the library at hand writes no newer one"
            _replace(values, {"format_version": (str(NEWEST_FORMAT_VERSION), reason)}, changes)
    return ScratchOptions(
        text=_render(database, columns, tables),
        changes=tuple(changes),
        digest=None if watched is None else digest(watched),
    )


def differences(asked: str, effective: str) -> tuple[OptionChange, ...]:
    """What the opened database does otherwise than it was asked: RocksDB sanitizes options."""
    wanted, found = parse(asked), parse(effective)
    changes = []
    for (title, argument), values in wanted.sections.items():
        if title == "Version":
            continue
        effective_values = found.sections.get((title, argument), {})
        for name, value in values.items():
            if name in _HOUSEKEEPING or "{" in value:
                continue
            there = effective_values.get(name)
            if there is not None and there != value:
                changes.append(OptionChange(name, value, there, "RocksDB corrected it"))
    return tuple(changes)


def _read_ahead(database: dict[str, str], changes: list[OptionChange]) -> None:
    if database.get("compaction_readahead_size", "0") == "0":
        reason = "its version left reading ahead to the system"
        _replace(database, {"compaction_readahead_size": (str(READAHEAD_BYTES), reason)}, changes)


def _drop_unknown(
    values: dict[str, str], known: Mapping[str, str], changes: list[OptionChange]
) -> None:
    for name in sorted(values.keys() - known.keys()):
        reason = "unknown to the library at hand"
        changes.append(OptionChange(name, values.pop(name), None, reason))


def _replace(
    values: dict[str, str],
    needed: Mapping[str, tuple[str, str]],
    changes: list[OptionChange],
) -> None:
    for name, (value, reason) in needed.items():
        if values.get(name) != value:
            changes.append(OptionChange(name, values.get(name), value, reason))
            values[name] = value


def _render(
    database: Mapping[str, str],
    columns: Mapping[str, str],
    tables: Mapping[str, Mapping[str, str]],
) -> str:
    lines = ["[Version]", f"  rocksdb_version={NEWER_VERSION}", "  options_file_version=1.1", ""]
    sections = [("[DBOptions]", database), ('[CFOptions "default"]', columns)]
    sections += [(f'[{title} "default"]', values) for title, values in tables.items()]
    for heading, values in sections:
        lines.append(heading)
        lines += [f"  {name}={value}" for name, value in values.items()]
        lines.append("")
    return "\n".join(lines)
