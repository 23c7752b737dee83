"""The limits a database runs with, from the newest OPTIONS-<n> file."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from probes.clock import Clock
from probes.errors import NoData, ProbeFailed
from probes.rocksdb.files import open_regular
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample, UniversalOptions

MAX_OPTIONS_BYTES = 16 * 1024 * 1024
"""Larger OPTIONS files are refused; one column family takes about 6 KB."""

LISTING_SETTLE_SECONDS = 0.1
"""A directory changed less than this before it was listed may change again without a new mtime."""

LARGE_DIRECTORY_ENTRIES = 2000
RELIST_SECONDS = 60.0
"""A directory of so many table files changes with every flush and costs milliseconds to list, while
OPTIONS files change when the database is opened or SetOptions is called: such a directory is listed
at most once a minute while the file known is still there."""

_OPTIONS_NAME = re.compile(r"OPTIONS-([0-9]{1,20})")
_SECTION = re.compile(r'\[([^"\]]*)(?:"(.*)"\s*)?\]', re.DOTALL)
_BEFORE_COMMENT = re.compile(r"(?:[^\\#]++|\\.)*+\\?", re.DOTALL)
_UNESCAPED = {"n": "\n", "r": "\r"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

_CONTAINER_ROOT = re.compile(r"/.*/[0-9]+/root(?=/)")

_COMPACTION_STYLES = {
    "kCompactionStyleLevel": "level",
    "kCompactionStyleUniversal": "universal",
    "kCompactionStyleFIFO": "fifo",
}

_COMPRESSIONS = {
    "kNoCompression": "none",
    "kSnappyCompression": "snappy",
    "kZlibCompression": "zlib",
    "kBZip2Compression": "bzip2",
    "kLZ4Compression": "lz4",
    "kLZ4HCCompression": "lz4hc",
    "kXpressCompression": "xpress",
    "kZSTD": "zstd",
    "kZSTDNotFinalCompression": "zstd",
}


class OptionsProbe:
    """Reads the newest OPTIONS file; parses it again only when the file is another one."""

    def __init__(self, database_path: str, clock: Clock) -> None:
        self._directory = database_path
        self._clock = clock
        self._listed_mtime_ns: int | None = None
        self._relist_at = 0.0
        self._newest: str | None = None
        self._parsed_version: tuple[str, int, int, int] | None = None
        self._parsed: OptionsSample | None = None

    def read(self) -> OptionsSample:
        """Return the options in force.

        NoData: "no_options". ProbeFailed: "database_missing", "not_readable",
        "options_too_large", "options_damaged", "options_read_error".
        """
        try:
            try:
                return self._read(self._newest_name(use_cache=True))
            except FileNotFoundError:
                # RocksDB keeps the newest two files: the name in hand was just retired.
                return self._read(self._newest_name(use_cache=False))
        except FileNotFoundError as error:
            raise ProbeFailed(
                "database_missing", f"{error.filename or self._directory} does not exist any more"
            ) from error
        except PermissionError as error:
            raise ProbeFailed(
                "not_readable",
                f"{error.filename} is not readable for this user; run as the database's user or "
                "root, or grant read access with an ACL",
            ) from error
        except OSError as error:
            raise ProbeFailed(
                "options_read_error", f"{error.filename or self._directory}: {error.strerror}"
            ) from error

    def _newest_name(self, *, use_cache: bool) -> str:
        mtime_ns = os.stat(self._directory).st_mtime_ns
        now = self._clock.monotonic()
        if not use_cache or (self._listed_mtime_ns != mtime_ns and now >= self._relist_at):
            settled_at = self._clock.wall() - LISTING_SETTLE_SECONDS
            found = []
            names = os.listdir(self._directory)
            for name in names:
                match = _OPTIONS_NAME.fullmatch(name) if name.startswith("OPTIONS-") else None
                if match:
                    found.append((int(match[1]), name))
            self._newest = max(found)[1] if found else None
            large = found and len(names) >= LARGE_DIRECTORY_ENTRIES
            self._relist_at = now + RELIST_SECONDS if large else now
            self._listed_mtime_ns = mtime_ns if mtime_ns < settled_at * 1e9 else None
        if self._newest is None:
            raise NoData("no_options", f"no OPTIONS file in {self._directory}")
        return self._newest

    def _read(self, name: str) -> OptionsSample:
        path = f"{self._directory}/{name}"
        status = os.stat(path)
        version = (name, status.st_mtime_ns, status.st_size, status.st_ino)
        if self._parsed is None or version != self._parsed_version:
            if status.st_size > MAX_OPTIONS_BYTES:
                raise ProbeFailed(
                    "options_too_large", f"{path} has {status.st_size} bytes and is not parsed"
                )
            with open(open_regular(path), "rb") as file:
                content = file.read(MAX_OPTIONS_BYTES)
            parsed = parse_options(
                content, file_name=name, at=self._clock.monotonic(), database_path=self._directory
            )
            self._parsed = replace(
                parsed,
                wal_dir=_other_directory(parsed.wal_dir, self._directory),
                db_log_dir=_other_directory(parsed.db_log_dir, self._directory),
            )
            self._parsed_version = version
        return replace(self._parsed, at=self._clock.monotonic())


def parse_options(
    content: bytes, *, file_name: str, at: float, database_path: str
) -> OptionsSample:
    """Return the known options; unknown keys and malformed lines are passed over.

    Raises ProbeFailed "options_damaged" when there is not even a section of options.
    Format: RocksDB options/options_parser.cc.
    """
    version: Mapping[str, str] = {}
    database: dict[str, str] = {}
    families: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    seen = False
    for raw in content.decode("utf-8", "backslashreplace").split("\n"):
        line = _without_comment(raw).strip()
        if not line:
            continue
        heading = _SECTION.fullmatch(line)
        if heading:
            title, argument = heading[1].strip(), heading[2]
            section = {}  # what is not known here, such as TableOptions, is read into nothing
            if title == "Version":
                version = section
            elif title == "DBOptions":
                database, seen = section, True
            elif title == "CFOptions" and argument is not None:
                families[_unescaped(argument)] = section
                seen = True
            continue
        name, equals, value = line.partition("=")
        if equals:
            section[name.strip()] = value.strip()
    if not seen:
        raise ProbeFailed(
            "options_damaged", f"{database_path}/{file_name} has neither DBOptions nor CFOptions"
        )
    return OptionsSample(
        at=at,
        file_name=file_name,
        rocksdb_version=version.get("rocksdb_version"),
        wal_dir=_directory(database.get("wal_dir"), database_path),
        db_log_dir=_directory(database.get("db_log_dir"), database_path),
        max_background_jobs=_integer(database, "max_background_jobs"),
        max_subcompactions=_size(database, "max_subcompactions"),
        delayed_write_rate=_size(database, "delayed_write_rate"),
        max_total_wal_bytes=_size(database, "max_total_wal_size"),
        column_families=tuple(_column_family(name, values) for name, values in families.items()),
        max_background_flushes=_integer(database, "max_background_flushes"),
        max_background_compactions=_integer(database, "max_background_compactions"),
        bytes_per_sync=_size(database, "bytes_per_sync"),
        wal_bytes_per_sync=_size(database, "wal_bytes_per_sync"),
        use_direct_io_for_flush_and_compaction=_boolean(
            database, "use_direct_io_for_flush_and_compaction"
        ),
        use_direct_reads=_boolean(database, "use_direct_reads"),
        enable_pipelined_write=_boolean(database, "enable_pipelined_write"),
        allow_concurrent_memtable_write=_boolean(database, "allow_concurrent_memtable_write"),
        unordered_write=_boolean(database, "unordered_write"),
        db_write_buffer_bytes=_size(database, "db_write_buffer_size"),
    )


def _column_family(name: str, values: Mapping[str, str]) -> ColumnFamilyOptions:
    return ColumnFamilyOptions(
        name=name,
        write_buffer_bytes=_size(values, "write_buffer_size"),
        max_write_buffer_number=_size(values, "max_write_buffer_number"),
        level0_file_num_compaction_trigger=_integer(values, "level0_file_num_compaction_trigger"),
        level0_slowdown_writes_trigger=_integer(values, "level0_slowdown_writes_trigger"),
        level0_stop_writes_trigger=_integer(values, "level0_stop_writes_trigger"),
        soft_pending_compaction_bytes_limit=_size(values, "soft_pending_compaction_bytes_limit"),
        hard_pending_compaction_bytes_limit=_size(values, "hard_pending_compaction_bytes_limit"),
        compaction_style=_COMPACTION_STYLES.get(values.get("compaction_style", "")),
        compression=_COMPRESSIONS.get(values.get("compression", "")),
        num_levels=_size(values, "num_levels"),
        max_bytes_for_level_base=_size(values, "max_bytes_for_level_base"),
        max_bytes_for_level_multiplier=_number(values, "max_bytes_for_level_multiplier"),
        target_file_size_base=_size(values, "target_file_size_base"),
        target_file_size_multiplier=_size(values, "target_file_size_multiplier"),
        level_compaction_dynamic_level_bytes=_boolean(
            values, "level_compaction_dynamic_level_bytes"
        ),
        max_compaction_bytes=_size(values, "max_compaction_bytes"),
        min_write_buffer_number_to_merge=_size(values, "min_write_buffer_number_to_merge"),
        universal=_universal(values.get("compaction_options_universal")),
        compression_per_level=tuple(
            _COMPRESSIONS.get(name)
            for name in values.get("compression_per_level", "").split(":")
            if name
        ),
        bottommost_compression=_COMPRESSIONS.get(values.get("bottommost_compression", "")),
        disable_auto_compactions=_boolean(values, "disable_auto_compactions"),
        enable_blob_files=_boolean(values, "enable_blob_files"),
        arena_block_bytes=_size(values, "arena_block_size"),
        memtable_factory=values.get("memtable_factory", "").partition(":")[0] or None,
        last_level_temperature=_temperature(values),
        preclude_last_level_data_seconds=_size(values, "preclude_last_level_data_seconds"),
    )


def _universal(text: str | None) -> UniversalOptions | None:
    """Read ``{size_ratio=1;min_merge_width=2;...}``; None where the file has none (before 5.16)."""
    if not text or not text.startswith("{"):
        return None
    values = {
        name.strip(): value.strip()
        for name, equals, value in (part.partition("=") for part in text.strip("{}").split(";"))
        if equals
    }
    return UniversalOptions(
        size_ratio_percent=_size(values, "size_ratio"),
        min_merge_width=_size(values, "min_merge_width"),
        max_merge_width=_size(values, "max_merge_width"),
        max_size_amplification_percent=_size(values, "max_size_amplification_percent"),
        compression_size_percent=_integer(values, "compression_size_percent"),
        allow_trivial_move=_boolean(values, "allow_trivial_move"),
        incremental=_boolean(values, "incremental"),
    )


def _temperature(values: Mapping[str, str]) -> str | None:
    """Name of ``last_level_temperature`` (``bottommost_temperature`` before 7.5), None if unset."""
    name = values.get("last_level_temperature") or values.get("bottommost_temperature") or ""
    return None if name in ("", "kUnknown") else name.removeprefix("k").lower()


def _without_comment(line: str) -> str:
    """Cut at the first ``#`` that no backslash escapes."""
    before = _BEFORE_COMMENT.match(line) if "#" in line else None
    return line if before is None else before[0]


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[1]), text)


def _directory(value: str | None, database_path: str) -> str | None:
    """Return a directory option as the owner sees it, None when it is unset or the database's."""
    if not value:
        return None
    path = _unescaped(value)
    reached = as_reached(path, database_path)
    return None if os.path.normpath(reached) == os.path.normpath(database_path) else path


def _other_directory(path: str | None, database_path: str) -> str | None:
    """Return None when the path leads to the database's directory by another name."""
    if path is None:
        return None
    try:
        same = os.path.samefile(as_reached(path, database_path), database_path)
    except (OSError, ValueError):
        return path  # not there or not reachable: whoever reads it will say so
    return None if same else path


def as_reached(path: str, database_path: str) -> str:
    """Return the owner's path as seen from here, for a container watched through its root."""
    through = _CONTAINER_ROOT.match(database_path)
    return through[0] + path if through and path.startswith("/") else path


def _integer(values: Mapping[str, str], key: str) -> int | None:
    text = values.get(key, "")
    # The length is bounded because Python refuses to convert thousands of digits.
    value = int(text) if len(text) <= 20 and re.fullmatch(r"-?[0-9]+", text) else None
    return None if value is None or value >> 64 not in (0, -1) else value


def _size(values: Mapping[str, str], key: str) -> int | None:
    """Return a count, or bytes, or bytes per second: what cannot be below zero."""
    value = _integer(values, key)
    return None if value is None or value < 0 else value


def _boolean(values: Mapping[str, str], key: str) -> bool | None:
    return {"true": True, "false": False}.get(values.get(key, ""))


def _number(values: Mapping[str, str], key: str) -> float | None:
    text = values.get(key, "")
    return float(text) if len(text) <= 40 and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else None
