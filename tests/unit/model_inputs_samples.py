"""Inputs of the LSM simulator as a database on a 100 MB/s device would give them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agent.models.lsm import HostShare, ModelInputs, TreeCosts, TreeOptions, TreeShape

MIB = 1048576.0


def model_inputs(
    *,
    options: Mapping[str, object] | None = None,
    costs: Mapping[str, object] | None = None,
    host: Mapping[str, object] | None = None,
    shape: TreeShape | None = None,
) -> ModelInputs:
    """1016-byte records overwritten at random in 2 GB of tables; RocksDB's defaults."""
    record_bytes = 1016.0
    base = ModelInputs(
        database="db",
        column_family="default",
        options=TreeOptions(),
        shape=TreeShape(level_bytes=(130 * MIB, 250 * MIB, 2000 * MIB), level_files=(2, 4, 31)),
        costs=TreeCosts(
            record_bytes=record_bytes,
            wal_bytes_per_put=record_bytes + 27.0,
            memtable_bytes_per_put=record_bytes + 11.0,
            flush_user_bytes=62.5 * MIB,
            merge_into_last_output_ratio=0.8,
            flush_cpu_seconds_per_byte=1.5e-9,
            compaction_cpu_seconds_per_byte=1.5e-9,
            foreground_cpu_seconds_per_put=1e-5,
            writer_seconds_per_put=4e-6,
        ),
        host=HostShare(device_write_bytes_per_second=100e6, cpu_cores=2.0),
        log_spread=0.03,
        missing=(),
        sources={},
        at=0.0,
    )
    return msgspec.structs.replace(
        base,
        options=msgspec.structs.replace(base.options, **_plain(options)),
        costs=msgspec.structs.replace(base.costs, **_plain(costs)),
        host=msgspec.structs.replace(base.host, **_plain(host)),
        shape=shape or base.shape,
    )


def _plain(changes: Mapping[str, object] | None) -> dict[str, Any]:
    return dict(changes or {})
