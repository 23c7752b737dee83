"""One device's account: reserved before, counted after, and a day is a day."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wear.account_clock import AccountClock, BootTime
from agent.wear.budget import (
    BUCKET_SECONDS,
    DAY_SECONDS,
    VITAL_BYTES,
    Bucket,
    Refused,
    Reservation,
    WearAccount,
    daily_limit_bytes,
    files_share_bytes,
    vital_bytes,
)
from agent.wear.record import DamagedRecord, WearRecord, decode, encode
from probes.fio import DEFAULT_LIMITS, FioMode, run_cost_bytes

MIB = 1024 * 1024
GB = 10**9
ACCOUNT = WearAccount("disk", 2000)
"""Half of it is kept for the agent's own files."""

VITAL = vital_bytes(ACCOUNT.limit_bytes)


def reserved(
    account: WearAccount, size_bytes: int, now: float
) -> tuple[WearAccount, Reservation | None]:
    account, answer = account.reserve("fio", size_bytes, now)
    return account, answer if isinstance(answer, Reservation) else None


def test_a_thousandth_of_the_drive_a_day_and_at_least_256_mib() -> None:
    """3.84 TB give 3.84 GB."""
    assert daily_limit_bytes(3_840_000_000_000) == 3_840_000_000
    assert daily_limit_bytes(10 * 1024 * MIB) == 256 * MIB


def test_what_is_reserved_is_gone_until_it_is_settled() -> None:
    """The unused part comes back, the used one is counted for its purpose."""
    account, reservation = reserved(ACCOUNT, 800, 0.0)
    assert account.remaining_bytes(0.0) == 1200
    assert reservation is not None
    account = account.settle(reservation, 300, 60.0)
    assert account.remaining_bytes(60.0) == 1700
    assert account.written("fio") == 300


def test_more_than_is_left_is_refused_with_numbers() -> None:
    """One byte is enough."""
    account, _ = ACCOUNT.reserve("fio", 600, 0.0)
    same, refused = account.reserve("fio", 401, 0.0)
    assert same == account
    assert isinstance(refused, Refused)
    assert refused.reason == "wear_budget_used"
    assert "400 left of 1000" in refused.detail


def test_more_than_a_whole_day_is_told_apart() -> None:
    """Waiting does not help."""
    _, refused = ACCOUNT.reserve("fio", 1001, 0.0)
    assert isinstance(refused, Refused)
    assert refused.reason == "over_daily_limit"


def test_more_written_than_reserved_is_counted() -> None:
    """A program that did not keep its bounds delays the next one."""
    account, reservation = reserved(ACCOUNT, 100, 0.0)
    assert reservation is not None
    account = account.settle(reservation, 1500, 1.0)
    assert account.written("fio") == 1500
    assert account.remaining_bytes(1.0) == 500


def test_settling_twice_counts_once() -> None:
    """Whatever the second says."""
    account, reservation = reserved(ACCOUNT, 100, 0.0)
    assert reservation is not None
    account = account.settle(reservation, 50, 1.0)
    assert account.settle(reservation, 70, 2.0) == account


def test_charges_are_never_refused_but_count() -> None:
    """State files are written whatever the budget says."""
    account = ACCOUNT.charge("state", 5000, 0.0)
    assert account.written("state") == 5000
    assert reserved(account, 1, 0.0)[1] is None


def test_bytes_are_forgotten_when_their_whole_hour_is_a_day_old() -> None:
    """Not a second before."""
    account = ACCOUNT.charge("state", 2000, 1.0)
    over = BUCKET_SECONDS + DAY_SECONDS
    assert account.remaining_bytes(over - 0.001) == 0
    assert account.remaining_bytes(over) == 2000


def test_bytes_count_from_the_settling_not_from_the_reserving() -> None:
    """A run of ten hours may have written its last byte at its end."""
    account, reservation = reserved(ACCOUNT, 1000, 0.0)
    assert reservation is not None
    account = account.settle(reservation, 1000, 36000.0)
    assert account.remaining_bytes(BUCKET_SECONDS + DAY_SECONDS) == 1000


@pytest.mark.parametrize("size_bytes", [0, -1])
def test_nothing_cannot_be_reserved(size_bytes: int) -> None:
    """It is a mistake of the caller."""
    with pytest.raises(ValueError, match="a reservation of"):
        ACCOUNT.reserve("fio", size_bytes, 0.0)
    with pytest.raises(ValueError, match="bytes written"):
        ACCOUNT.charge("fio", size_bytes - 1, 0.0)


def test_what_files_wrote_today_is_not_kept_for_them_again() -> None:
    """Of the thousand that are theirs; what fio leaves they may have, too."""
    account = ACCOUNT.charge("history", 600, 0.0)
    assert account.kept_for_files_bytes(0.0) == 400
    assert reserved(account, 1000, 0.0)[1] is not None
    account = account.charge("history", 600, 0.0)
    assert account.kept_for_files_bytes(0.0) == VITAL
    assert reserved(account, 801 - VITAL, 0.0)[1] is None
    assert reserved(account, 800 - VITAL, 0.0)[1] is not None
    assert account.kept_for_files_bytes(BUCKET_SECONDS + DAY_SECONDS) == 1000


def test_a_small_drive_keeps_half_for_files_a_larger_one_a_quarter_at_most_256_mib() -> None:
    """128 MiB at least: what four databases' history takes in a day, and some."""
    kept = {size: files_share_bytes(daily_limit_bytes(size * GB)) for size in (200, 480, 960, 3840)}
    assert kept == {200: 128 * MIB, 480: 128 * MIB, 960: 240_000_000, 3840: 256 * MIB}


@pytest.mark.parametrize("cost_bytes", [8 * MIB, 128 * MIB])
@pytest.mark.parametrize("drive_bytes", [100 * GB, 480 * GB, 960 * GB])
def test_no_run_of_fio_keeps_a_days_history_of_four_databases_from_being_written(
    drive_bytes: int, cost_bytes: int
) -> None:
    """However often it would run: for four days it takes all that it gets, every quarter hour."""
    account, runs = WearAccount("disk", daily_limit_bytes(drive_bytes)), 0
    step_seconds, files_bytes = 900, 112 * 10**6  # a day, with all state files
    number = None
    for now in range(0, 4 * 86400, step_seconds):
        size_bytes = files_bytes * step_seconds // 86400
        account, held = account.top_up(number, "history", size_bytes, 5 * MIB, float(now))
        assert isinstance(held, Reservation), now / 86400
        number = held.id
        account = account.draw(number, "history", size_bytes, float(now))
        while True:
            account, answer = account.reserve("fio", cost_bytes, float(now))
            if isinstance(answer, Refused):
                break
            account = account.settle(answer, cost_bytes, float(now))
            runs += 1
        assert account.remaining_bytes(float(now)) >= VITAL_BYTES
    a_day = (account.limit_bytes - files_share_bytes(account.limit_bytes)) // cost_bytes
    assert runs == 4 * a_day


def runs_a_day(limit_bytes: int, mode: FioMode) -> int:
    """How many whole runs are granted at once, of a budget that is not used yet."""
    account, runs, cost_bytes = (
        WearAccount("disk", limit_bytes),
        0,
        run_cost_bytes(DEFAULT_LIMITS[mode]),
    )
    while True:
        account, answer = account.reserve("fio", cost_bytes, 0.0)
        if isinstance(answer, Refused):
            return runs
        account, runs = account.settle(answer, cost_bytes, 0.0), runs + 1


@pytest.mark.parametrize(
    ("drive", "size_bytes"),
    [
        ("up to 268 GB", 268 * GB),
        ("480 GB", 480 * GB),
        ("960 GB", 960 * GB),
        ("3.84 TB", 3840 * GB),
        ("30.72 TB", 30720 * GB),
    ],
)
def test_the_docs_tell_how_many_runs_a_day_are_granted(drive: str, size_bytes: int) -> None:
    """Of each mode, as fio's limits are now."""
    limit_bytes = daily_limit_bytes(size_bytes)
    runs = " | ".join(str(runs_a_day(limit_bytes, mode)) for mode in FioMode)
    share = f"{files_share_bytes(limit_bytes) / 1e6:.0f} MB"
    row = f"| {drive} | {limit_bytes / 1e6:,.0f} MB | {share} | {runs} |".replace(",", " ")
    assert row in (Path(__file__).parents[2] / "docs/wear.md").read_text()


def test_a_bucket_of_an_earlier_version_is_all_probes() -> None:
    """It does not say what was files': for a day fio gets less, never more."""
    account = msgspec.structs.replace(ACCOUNT, totals={"state": 600}, buckets=(Bucket(0, 600),))
    raw = encode(WearRecord(CLOCK, accounts=(account,))).replace(b"[0,600,0]", b"[0,600]")
    inner = msgspec.json.decode(raw)["ledger"]
    (read,) = msgspec.json.decode(msgspec.json.encode(inner), type=WearRecord).accounts
    assert read == account
    assert read.kept_for_files_bytes(0.0) == 1000


LARGE = WearAccount("disk", 1024 * MIB)


def advance(
    account: WearAccount, number: int | None, size_bytes: int
) -> tuple[WearAccount, Reservation]:
    account, answer = account.top_up(number, "history", size_bytes, 9 * MIB, 0.0)
    assert isinstance(answer, Reservation)
    return account, answer


def test_an_advance_is_more_than_was_asked_for_and_is_drawn_from() -> None:
    """A second file finds enough in it; then it is made larger under its number."""
    account, first = advance(LARGE, None, 8192)
    assert first.size_bytes == 8192 + MIB
    account = account.draw(first.id, "history", 8192, 0.0)
    same, second = advance(account, first.id, MIB)
    assert same == account
    assert second.size_bytes == MIB
    account, third = advance(account.draw(first.id, "history", MIB, 0.0), first.id, 1)
    assert third.size_bytes == 1 + MIB
    assert account.written("history") == 8192 + MIB
    assert account.remaining_bytes(0.0) == 1024 * MIB - 8192 - MIB - third.size_bytes


def test_what_is_beyond_an_advance_counts_and_what_is_left_of_it_comes_back() -> None:
    """Neither less nor twice."""
    account, held = advance(LARGE, None, 8192)
    beyond = account.draw(held.id, "history", 5 * MIB, 0.0)
    assert (beyond.written("history"), beyond.reserved_bytes) == (5 * MIB, 0)
    assert account.give_back(held.id) == msgspec.structs.replace(LARGE, next_id=held.id + 1)


def test_the_last_of_the_budget_is_for_what_is_never_refused() -> None:
    """An advance is no larger than what there is; what is vital is granted beyond it. Probes leave
    it alone, too, however much files have written: or what is never refused broke the limit."""
    full = LARGE.charge("history", 1024 * MIB - 2 * VITAL_BYTES, 0.0)
    assert reserved(full, VITAL_BYTES + 1, 0.0)[1] is None
    assert reserved(full, VITAL_BYTES, 0.0)[1] is not None
    used = LARGE.charge("history", 1024 * MIB - VITAL_BYTES - 10000, 0.0)
    account, held = advance(used, None, 9000)
    assert held.size_bytes == 10000
    same, refused = account.top_up(None, "history", 1, 0, 0.0)
    assert same == account
    assert isinstance(refused, Refused)
    account, granted = account.top_up(None, "state", 3 * VITAL_BYTES, 0, 0.0, vital=True)
    assert isinstance(granted, Reservation)
    assert granted.size_bytes == 3 * VITAL_BYTES
    assert account.remaining_bytes(0.0) == 0


CLOCK = AccountClock(7200.0, BootTime("boot", 100.0))

RECORD = WearRecord(
    clock=CLOCK,
    receipts=("written-0123456789abcdef.json",),
    accounts=(ACCOUNT.charge("state", 10, 10.0).reserve("fio", 500, 20.0)[0],),
)


def test_a_record_is_read_as_it_was_written() -> None:
    """Reservations and all."""
    assert decode(encode(RECORD)) == RECORD


def test_no_part_of_a_record_passes_for_a_record() -> None:
    """Cut at every byte but the last, which is the line's end."""
    raw = encode(RECORD)
    for length in range(len(raw) - 1):
        with pytest.raises(DamagedRecord):
            decode(raw[:length])


@given(st.integers(0, len(encode(RECORD)) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_found_or_harmless(position: int, difference: int) -> None:
    """The check sum is over every number."""
    raw = bytearray(encode(RECORD))
    raw[position] ^= difference
    try:
        found = decode(bytes(raw))
    except DamagedRecord:
        found = RECORD
    assert found == RECORD


@pytest.mark.parametrize(
    "account",
    [
        msgspec.structs.replace(ACCOUNT, buckets=(Bucket(1, 1), Bucket(0, 1)), totals={"fio": 2}),
        msgspec.structs.replace(ACCOUNT, buckets=(Bucket(3, 1),), totals={"fio": 2}),
        msgspec.structs.replace(ACCOUNT, buckets=(Bucket(0, 5),), totals={"fio": 2}),
        msgspec.structs.replace(ACCOUNT, buckets=(Bucket(0, 5, 6),), totals={"fio": 5}),
        msgspec.structs.replace(ACCOUNT, reservations=(Reservation("disk", 1, "fio", 5),)),
        msgspec.structs.replace(
            ACCOUNT, reservations=(Reservation("other", 1, "fio", 5),), next_id=2
        ),
        msgspec.structs.replace(ACCOUNT, limit_bytes=-1),
    ],
)
def test_an_account_that_cannot_be_true_is_damaged(account: WearAccount) -> None:
    """However well its check sum is."""
    with pytest.raises(DamagedRecord):
        decode(encode(msgspec.structs.replace(RECORD, accounts=(account,))))


def test_another_version_or_a_second_account_is_damaged() -> None:
    """Neither is guessed at."""
    with pytest.raises(DamagedRecord, match="version 2"):
        decode(encode(RECORD).replace(b'"version":1', b'"version":2'))
    with pytest.raises(DamagedRecord, match="two accounts"):
        decode(encode(msgspec.structs.replace(RECORD, accounts=RECORD.accounts * 2)))
