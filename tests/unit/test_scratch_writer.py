import os
from collections.abc import Iterator
from typing import Any

import pytest

from agent.calibrate import writer as scratch_writer
from agent.calibrate.writer import EPOCH, PAGE_BYTES, PUTS, Page, _Records


class Batch:
    """Takes puts as rocksdict's WriteBatch does."""

    def __init__(self) -> None:
        self.puts: list[tuple[bytes, bytes]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.puts.append((key, value))


def filled(counts: list[int], **changes: Any) -> list[tuple[bytes, bytes]]:
    settings = {
        "key_bytes": 16,
        "value_bytes": 100,
        "key_order": "random",
        "incompressible_ratio": 1.0,
        **changes,
    }
    records, batch = _Records(settings), Batch()
    for count in counts:
        records.fill(batch, count)
    return batch.puts


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = os.memfd_create("test")
    os.ftruncate(made, PAGE_BYTES)
    yield made
    os.close(made)


def test_both_sides_see_the_same_page(descriptor: int) -> None:
    """Without a word between them."""
    parent, child = Page(descriptor), Page(descriptor)
    child[PUTS] = 2**40
    parent.load(0.5)
    assert (parent[PUTS], child.rate, child[EPOCH]) == (2**40, 0.5, 1)


def test_every_change_of_the_load_is_a_new_schedule(descriptor: int) -> None:
    """Even to the same rate."""
    page = Page(descriptor)
    page.load(100.0)
    page.load(100.0)
    assert page[EPOCH] == 2


@pytest.mark.parametrize("order", ["random", "sequential"])
@pytest.mark.parametrize("value_bytes", [1, 100, 5000, 2_000_000])
def test_records_have_the_sizes_asked_for(order: str, value_bytes: int) -> None:
    """Key and value."""
    puts = filled([3, 1], key_order=order, value_bytes=value_bytes)
    assert [(len(key), len(value)) for key, value in puts] == [(16, value_bytes)] * 4


def test_random_keys_do_not_repeat() -> None:
    """Over several batches and pools."""
    keys = [key for key, _ in filled([64] * 200)]
    assert len(set(keys)) == len(keys)


def test_sequential_keys_ascend() -> None:
    """From batch to batch."""
    keys = [key for key, _ in filled([10] * 5, key_order="sequential")]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_values_compress_as_asked(ratio: float) -> None:
    """zlib stands for the compressions RocksDB has."""
    import zlib

    values = b"".join(
        value for _, value in filled([40], value_bytes=1000, incompressible_ratio=ratio)
    )
    assert len(zlib.compress(values)) / len(values) == pytest.approx(ratio, abs=0.15)


def test_a_failure_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Read by the parent, shown to the operator."""
    assert scratch_writer._failed("rocksdb_error", "x" * 1000) == 1
    assert capsys.readouterr().out == '{"reason": "rocksdb_error", "detail": "' + "x" * 500 + '"}'
