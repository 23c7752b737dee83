"""Background errors, on lines that a RocksDB 9.8.4 wrote on a file system that ran full, and on
the same events in the words of other versions."""

import pytest

from probes.rocksdb.log_errors import BackgroundErrorTracker

NO_SPACE = b"IO error: No space left on device: While appending to file: /db/"
FLUSH_9_8 = [
    b"2026/11/21-03:08:41.811409 1397 [WARN] [db/error_handler.cc:393] Background IO error "
    + NO_SPACE
    + b"000022.sst: No space left on device, reason 0",
    b"2026/11/21-03:08:41.811412 1397 [db/error_handler.cc:279] ErrorHandler: Set regular "
    b"background error",
    b"2026/11/21-03:08:41.811456 1397 [ERROR] [db/db_impl/db_impl_compaction_flush.cc:3362] "
    b"[JOB 9] Waiting after background flush error: "
    + NO_SPACE
    + b"000022.sst: No space left on device, Accumulated background error counts: 1",
]
COMPACTION_9_8 = [
    b"2026/11/21-03:08:41.813522 1397 [WARN] [db/error_handler.cc:393] Background IO error "
    + NO_SPACE
    + b"000016.sst: No space left on device, reason 1",
    b"2026/11/21-03:08:41.813524 1397 [db/error_handler.cc:279] ErrorHandler: Set regular "
    b"background error",
    b"2026/11/21-03:08:41.813538 1397 [ERROR] [db/db_impl/db_impl_compaction_flush.cc:3455] "
    b"Waiting after background compaction error: "
    + NO_SPACE
    + b"000016.sst: No space left on device, Accumulated background error counts: 2",
]
WAL_9_8 = [
    b"2026/11/21-03:08:46.862278 1397 [WARN] [db/error_handler.cc:393] Background IO error "
    + NO_SPACE
    + b"000023.log: No space left on device, reason 2",
    FLUSH_9_8[1],
]
RESUMED = [b"2026/11/21-03:08:46.823384 1397 [db/db_impl/db_impl.cc:443] Successfully resumed DB"]
RETRYABLE = b"1 2 [db/error_handler.cc:453] ErrorHandler: Set background retryable IO error"
BACKGROUND = b"1 2 [WARN] [db/error_handler.cc:397] Background IO error IO error: timeout"


def without_reason(lines: list[bytes]) -> list[bytes]:
    """As 6.22 to 8.x write it."""
    return [line.partition(b", reason ")[0] for line in lines]


def with_stop(lines: list[bytes], stop: bytes) -> list[bytes]:
    """As 10.x and 11.x write it."""
    decided = b"Set regular background error"
    return [line.replace(decided, decided + b", auto_recovery=1, stop=" + stop) for line in lines]


@pytest.mark.parametrize(
    ("lines", "is_error"),
    [
        (FLUSH_9_8, True),
        (COMPACTION_9_8, False),
        (WAL_9_8, True),
        (FLUSH_9_8 + COMPACTION_9_8, True),
        (FLUSH_9_8 + RESUMED, False),
        (WAL_9_8 + COMPACTION_9_8, True),
        (without_reason(FLUSH_9_8), True),
        (without_reason(COMPACTION_9_8), False),
        (without_reason(WAL_9_8 + COMPACTION_9_8), True),
        (without_reason(FLUSH_9_8 + COMPACTION_9_8), True),
        (with_stop(FLUSH_9_8, b"1"), True),
        (with_stop(COMPACTION_9_8, b"0"), False),
        (FLUSH_9_8[2:], True),
        (COMPACTION_9_8[2:], False),
        (
            [
                b"1 2 [ERROR] [db/db_impl/db_impl_compaction_flush.cc:2454] Waiting after "
                b"background compaction error: Corruption: block checksum mismatch, "
                b"Accumulated background error counts: 1"
            ],
            True,
        ),
        ([BACKGROUND, RETRYABLE], True),
        (
            [
                BACKGROUND,
                RETRYABLE,
                b"1 2 [db/error_handler.cc:465] ErrorHandler: Compaction will schedule by itself "
                b"to resume",
            ],
            False,
        ),
        ([BACKGROUND + b", reason 5", RETRYABLE], False),
        (
            [
                BACKGROUND,
                b"1 2 [db/error_handler.cc:425] ErrorHandler: Set background IO error as "
                b"unrecoverable error",
            ],
            True,
        ),
        ([*FLUSH_9_8, b"1 2 [db/db_impl/db_impl.cc:466] Failed to resume DB [IO error]"], True),
    ],
)
def test_only_what_stops_writes_is_a_background_error(lines: list[bytes], is_error: bool) -> None:
    """By version, and by what the error handler decided."""
    tracker = BackgroundErrorTracker()
    for line in lines:
        tracker.feed(line, 41_811_409)
    assert is_error == (tracker.message is not None)


def test_the_message_is_the_status_and_the_time_that_of_the_first_line() -> None:
    """Later failures are consequences."""
    tracker = BackgroundErrorTracker()
    for at, line in enumerate(FLUSH_9_8 + WAL_9_8):
        tracker.feed(line, at)
    expected = (NO_SPACE + b"000022.sst: No space left on device").decode()
    assert (expected, 1) == (tracker.message, tracker.since_micros)
