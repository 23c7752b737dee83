"""A change worked into a database's model inputs. Pure.

    apply(change, inputs, foreign, lean) -> ChangedInputs; ChangeError for what cannot be

Options are resolved as RocksDB does it (``agent.whatif.tree``). What a change does to costs that
were never measured under it comes from documented priors (``agent.whatif.costs``); ``lean`` picks
an end of all their ranges at once: -1 the one that lowers S_max.
"""

from dataclasses import dataclass

from msgspec.structs import replace

from agent.explain.quantity_text import bandwidth_text
from agent.models.lsm import ModelInputs
from agent.models.prediction import MIB
from agent.whatif.change import Change, ChangeError, check
from agent.whatif.compression_prior import Lean
from agent.whatif.costs import change_compression, change_value, change_wal
from agent.whatif.draft import Draft
from agent.whatif.tree import change_buffers, change_levels, change_slots


@dataclass(frozen=True, slots=True)
class ChangedInputs:
    """The inputs after the change, each change in words, and what could not be known."""

    inputs: ModelInputs
    changes: tuple[str, ...]
    notes: tuple[str, ...]


def apply(
    change: Change, inputs: ModelInputs, foreign_bytes_per_second: float | None, lean: Lean = 0
) -> ChangedInputs:
    """The inputs as they would be; ``foreign_bytes_per_second`` is now's, None where unknown."""
    check(change)
    draft = Draft(inputs, lean)
    change_slots(draft, change)
    change_buffers(draft, change)
    change_levels(draft, change)
    if change.wal is not None:
        change_wal(draft, enabled=change.wal)
    if change.value_bytes is not None:
        change_value(draft, change.value_bytes)
    if change.compression is not None:
        change_compression(draft, change.compression)
    _change_host(draft, change, foreign_bytes_per_second)
    changed = replace(
        inputs, options=draft.options, costs=draft.costs, shape=draft.shape, host=draft.host
    )
    return ChangedInputs(changed, tuple(draft.changes), tuple(draft.notes))


def _change_host(draft: Draft, change: Change, foreign_now: float | None) -> None:
    host = draft.host
    if change.device_bytes_per_second is not None or change.foreign_bytes_per_second is not None:
        foreign = 0.0 if foreign_now is None else foreign_now
        if foreign_now is None:
            draft.notes.append("how much others write is not known: nothing is assumed")
        total = host.device_write_bytes_per_second + foreign
        new_total = change.device_bytes_per_second or total
        new_foreign = (
            foreign if change.foreign_bytes_per_second is None else change.foreign_bytes_per_second
        )
        free = new_total - new_foreign
        if free <= 0.0:
            raise ChangeError(
                f"others' {new_foreign / MIB:,.0f} MiB/s leave nothing of the device's "
                f"{new_total / MIB:,.0f} MiB/s; raise --device-mbps or lower --foreign-mb"
            )
        if change.device_bytes_per_second is not None:
            draft.changes.append(
                f"device: {bandwidth_text(total)} -> {bandwidth_text(new_total)}, everyone's writes"
            )
        if change.foreign_bytes_per_second is not None:
            draft.changes.append(
                f"writes of others: {bandwidth_text(foreign)} -> {bandwidth_text(new_foreign)}"
            )
        reads = host.device_read_bytes_per_second
        if reads is not None and change.device_bytes_per_second is not None:
            reads *= new_total / total
            draft.notes.append("the device's reads are taken to change as its writes do")
        host = replace(host, device_write_bytes_per_second=free, device_read_bytes_per_second=reads)
    if change.cpu_cores is not None:
        draft.changes.append(f"CPU: {host.cpu_cores:g} -> {change.cpu_cores:g} cores for it")
        host = replace(host, cpu_cores=change.cpu_cores)
    draft.host = host
