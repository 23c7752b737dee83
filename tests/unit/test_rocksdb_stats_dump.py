"""The statistics dump, as three generations of RocksDB print it."""

# ruff: noqa: E501  -- RocksDB prints wide tables

from hypothesis import given
from hypothesis import strategies as st

from probes.rocksdb.samples import StatsDump
from probes.rocksdb.stats_dump import StatsDumpParser
from tests.fuzz.contract import require_sound

GIB = 1024.0**3

DUMP_7_8 = b"""\
Uptime(secs): 3.0 total, 2.0 interval
Cumulative writes: 312K writes, 312K keys, 312K commit groups, 1.0 writes per commit group, ingest: 0.13 GB, 42.81 MB/s
Cumulative WAL: 312K writes, 0 syncs, 312158.00 writes per sync, written: 0.13 GB, 42.81 MB/s
Cumulative stall: 00:01:1.408 H:M:S, 46.9 percent
Interval writes: 177K writes, 177K keys, 177K commit groups, 1.0 writes per commit group, ingest: 72.93 MB, 36.46 MB/s
Interval stall: 00:00:1.028 H:M:S, 51.4 percent

** Compaction Stats [default] **
Level    Files   Size     Score Read(GB)  Rn(GB) Rnp1(GB) Write(GB) Wnew(GB) Moved(GB) W-Amp Rd(MB/s) Wr(MB/s) Comp(sec) CompMergeCPU(sec) Comp(cnt) Avg(sec) KeyIn KeyDrop Rblob(GB) Wblob(GB)
------------------------------------------------------------------------------------------------------------------------
  L0      6/0    2.96 MB   1.5      0.0     0.0      0.0       0.1      0.1       0.0   1.0      0.0     84.4      0.83              0.35       141    0.006       0      0       0.0       0.0
 Sum     65/5   52.33 MB   0.0      0.3     0.1      0.2       0.4      0.2       0.0   5.3     92.4    107.5      3.45              2.42       218    0.016   1422K    74K       0.0       0.0
 Int      0/0    0.00 KB   0.0      0.2     0.1      0.1       0.2      0.1       0.0   6.3     95.1    105.7      2.39              1.71       134    0.018   1015K    62K       0.0       0.0

** Compaction Stats [default] **
Priority    Files   Size     Score Read(GB)  Rn(GB) Rnp1(GB) Write(GB) Wnew(GB) Moved(GB) W-Amp Rd(MB/s) Wr(MB/s) Comp(sec) CompMergeCPU(sec) Comp(cnt) Avg(sec) KeyIn KeyDrop Rblob(GB) Wblob(GB)
------------------------------------------------------------------------------------------------------------------------
 Low      0/0    0.00 KB   0.0      0.3     0.1      0.2       0.3      0.1       0.0   0.0    121.6    114.9      2.62              2.07        77    0.034   1422K    74K       0.0       0.0

Uptime(secs): 3.0 total, 2.0 interval
Flush(GB): cumulative 0.066, interval 0.037
"""

TABLE_10_4 = b"""\
** Compaction Stats [we[i]rd] **
Level    Files   Size     Score Read(GB)  Rn(GB) Rnp1(GB) Write(GB) WPreComp(GB) Wnew(GB) Moved(GB) W-Amp Rd(MB/s) Wr(MB/s) Comp(sec) CompMergeCPU(sec) Comp(cnt) Avg(sec) KeyIn KeyDrop Rblob(GB) Wblob(GB)
 Sum     65/5   52.33 MB   0.0      0.3     0.1      0.2       0.4      0.9      0.2       0.0   4.7     92.4    107.5      3.45              2.42       218    0.016   1422K    74K       0.0       0.0
Estimated pending compaction bytes: 162970814
"""

TABLE_5_18 = b"""\
** Compaction Stats [default] **
Level    Files   Size     Score Read(GB)  Rn(GB) Rnp1(GB) Write(GB) Wnew(GB) Moved(GB) W-Amp Rd(MB/s) Wr(MB/s) Comp(sec) Comp(cnt) Avg(sec) KeyIn KeyDrop
 Sum     65/5   52.33 MB   0.0      0.3     0.1      0.2       0.4      0.2       0.0   3.1     92.4    107.5      3.45       218    0.016   1422K    74K
"""


def parsed(text: bytes) -> StatsDump:
    parser = StatsDumpParser(1000.0)
    for line in text.split(b"\n"):
        parser.feed(line)
    return parser.result()


def test_the_cumulative_lines_are_read_with_their_units() -> None:
    """K is a thousand keys, GB is 2**30 bytes, H:M:S is time."""
    dump = parsed(DUMP_7_8)
    expected = (1000.0, 3.0, 312_000.0, 0.13 * GIB, 61.408)
    actual = (
        dump.wall_seconds,
        dump.uptime_seconds,
        dump.cumulative_writes,
        dump.cumulative_ingest_bytes,
        dump.cumulative_stall_seconds,
    )
    assert actual == expected


def test_write_amplification_comes_from_the_sum_row_of_the_level_table() -> None:
    """Not from the interval row, and not from the priority table."""
    assert parsed(DUMP_7_8).write_amplification == {"default": 5.3}


def test_an_inserted_column_moves_nothing() -> None:
    """10.4 put WPreComp before W-Amp; 5.18 has no CPU column."""
    assert parsed(TABLE_10_4).write_amplification == {"we[i]rd": 4.7}
    assert parsed(TABLE_5_18).write_amplification == {"default": 3.1}


def test_pending_compaction_bytes_belong_to_the_family_of_the_table_above() -> None:
    """Since 9.0."""
    assert parsed(TABLE_10_4).pending_compaction_bytes == {"we[i]rd": 162970814.0}


def test_what_a_dump_does_not_say_is_unknown_not_zero() -> None:
    """An empty dump."""
    assert parsed(b"") == StatsDump(1000.0, None, None, None, None, {}, {})


def test_a_cut_sum_row_gives_no_amplification() -> None:
    """Messages are cut at 64 KiB."""
    cut = TABLE_10_4[: TABLE_10_4.index(b"   4.7")]
    assert parsed(cut).write_amplification == {}


@given(st.binary(max_size=200), st.integers(0, len(DUMP_7_8)))
def test_no_damage_makes_parsing_raise(noise: bytes, at: int) -> None:
    """Whatever overwrote the dump; nor does it make a figure that cannot be."""
    require_sound(parsed(DUMP_7_8[:at] + noise + DUMP_7_8[at + len(noise) :]))
