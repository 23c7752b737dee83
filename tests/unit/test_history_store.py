"""The history's file: what is written is read back, whatever happened to the file before."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.history import schema, upkeep
from agent.history.columns import DATABASES, DAY, HOUR, TABLES
from agent.history.fold import time_of
from agent.history.past import Past
from agent.history.reader import HistoryFile
from agent.history.reader_file import HistoryUnreadable
from agent.history.sample import Sample
from agent.history.schema import is_damage
from agent.history.store import NewerHistory, Store, written_by_this_thread
from agent.history.store_file import DamagedHistory, set_aside
from tests.unit import pasts
from tests.unit.pasts import START

LIMIT = 1 << 30
VERSION_1 = Path(__file__).parents[1] / "data" / "history" / "version-1.db"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "history.db")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    opened = Store(path, LIMIT)
    yield opened
    opened.close()


def write(store: Store, samples: list[Sample], each: int = 6) -> int:
    return sum(store.write(samples[i : i + each]) for i in range(0, len(samples), each))


def read(path: str, seconds: int = DAY, resolution: int = 10, since: int = START) -> Past:
    with HistoryFile(path) as file:
        return file.read(since, since + seconds, resolution)


def orders(past: Past) -> list[float | None]:
    line = next(d.line for d in past.databases if d.name == "orders")
    return line.numbers("observed_puts_per_second")


def select(path: str, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_what_is_written_is_read_back(path: str, store: Store) -> None:
    """To the unit that it is stored in."""
    samples = list(pasts.samples(60, 2))
    rows = write(store, samples)

    past = read(path)
    assert rows == sum(sample.weight for sample in samples)
    assert [database.name for database in past.databases] == ["orders", "sessions"]
    written = [sample.rows[0].values[0] for sample in samples]
    assert orders(past) == pytest.approx(written, abs=0.05)
    line = past.databases[0].line
    assert list(line.times) == [START + 10 * number for number in range(6)]
    assert set(line.words("phase")) == {"middle"}
    assert set(line.words("device")) == {"nvme0n1"}
    assert list(past.databases[0].models) == ["bottleneck", "simulator", "v4", "v4.1"]
    assert set(past.devices) == {"nvme0n1", "nvme1n1"}


def test_one_database_comes_with_its_own_devices_and_alerts(path: str, store: Store) -> None:
    """What others went through is not told of it."""
    write(store, list(pasts.samples(60, 2)))
    own = (
        pasts.alert("A", START, database="orders"),
        pasts.alert("A", START + 1, device="nvme0n1"),
    )
    others = (
        pasts.alert("A", START, database="sessions"),
        pasts.alert("A", START, device="nvme1n1"),
    )
    store.write([pasts.events(START + 60, *own, *others)])
    with HistoryFile(path) as file:
        past = file.read(START, START + DAY, 10, database="orders")

    assert [database.name for database in past.databases] == ["orders"]
    assert set(past.devices) == {"nvme0n1"}
    assert [(a.database, a.device) for a in past.alerts] == [("orders", ""), ("", "nvme0n1")]


def test_the_file_and_its_log_are_private(path: str, store: Store) -> None:
    """Names and rates of databases are nobody else's business."""
    write(store, list(pasts.samples(10, 1)))

    modes = {name: stat.S_IMODE(os.stat(path + name).st_mode) for name in ("", "-wal", "-shm")}
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600}


def test_a_file_that_others_could_read_is_made_private(path: str) -> None:
    """Whoever made it so."""
    Store(path, LIMIT).close()
    Path(path).chmod(0o644)
    Store(path, LIMIT).close()

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_it_is_in_wal_mode_without_a_sync_per_commit(path: str, store: Store) -> None:
    """So that readers and the writer do not wait for each other, nor the writer for the device."""
    run = store._connection.execute
    assert run("PRAGMA synchronous").fetchone() == (1,)
    assert select(path, "PRAGMA journal_mode") == [("wal",)]
    assert select(path, "PRAGMA page_size") == [(1024,)]


def test_minutes_and_ten_minutes_are_made_of_what_is_over(path: str, store: Store) -> None:
    """And of no more: the current minute would be counted twice."""
    write(store, list(pasts.samples(1270, 1)))

    (minutes,) = select(path, "SELECT count(*), min(samples), max(samples) FROM databases_60")
    (tens,) = select(path, "SELECT count(*), min(samples), max(samples) FROM databases_600")
    assert minutes == (21, 6, 6)
    assert tens == (2, 60, 60)


@pytest.mark.parametrize(("resolution", "rows"), [(10, 127), (60, 22), (600, 3)])
def test_a_reader_sees_what_is_not_folded_yet(
    path: str, store: Store, resolution: int, rows: int
) -> None:
    """The present minute is in no table of minutes."""
    write(store, list(pasts.samples(1270, 1)))

    past = read(path, resolution=resolution)
    assert len(past.databases[0].line.times) == rows
    assert sum(past.databases[0].line.numbers("samples")) == 127  # type: ignore[arg-type]


def test_stalls_are_the_same_at_every_resolution(path: str, store: Store) -> None:
    """They are summed up."""
    noon = START + 12 * HOUR - 1200
    write(store, list(pasts.samples(2400, 1, start=noon)))

    totals = []
    for resolution in (10, 60, 600):
        line = read(path, 2400, resolution, noon).databases[0].line
        totals.append(sum(value or 0.0 for value in line.numbers("stopped_seconds")))
    assert totals[0] > 10.0
    assert totals == pytest.approx([totals[0]] * 3, abs=0.01)


def test_years_are_read_in_longer_periods_than_are_kept(path: str, store: Store) -> None:
    """Folded piece by piece; stalls are the same sum."""
    write(store, list(pasts.samples(30 * DAY, 1, step=3600)), each=24)

    tens, hours = (read(path, 30 * DAY, resolution).databases[0] for resolution in (600, 21600))
    assert len(hours.line.times) == 30 * 4
    for name in ("stopped_seconds", "samples"):
        totals = [sum(v or 0.0 for v in one.line.numbers(name)) for one in (tens, hours)]
        assert totals[0] == pytest.approx(totals[1])
        assert totals[0] > 0.0


def test_a_gap_stays_a_gap_at_every_resolution(path: str, store: Store) -> None:
    """The agent was off for three hours."""
    write(store, list(pasts.samples(600, 1)))
    write(store, list(pasts.samples(600, 1, start=START + 3 * HOUR)))

    for resolution in (10, 60, 600):
        times = read(path, resolution=resolution).databases[0].line.times
        assert [t for t in times if START + 600 <= t < START + 3 * HOUR] == []
        assert times[-1] >= START + 3 * HOUR


def test_a_backlog_is_folded_piece_by_piece(path: str, store: Store) -> None:
    """Each commit stays short, and nothing is left out."""
    write(store, list(pasts.samples(3 * HOUR, 1)), each=10_000)
    (after_one,) = select(path, "SELECT count(*) FROM databases_60")
    write(store, list(pasts.samples(60, 1, start=START + 3 * HOUR)), each=1)
    (after_more,) = select(path, "SELECT count(*) FROM databases_60")

    assert after_one == (upkeep.FOLD_BACKLOG_SECONDS // 60,)
    assert after_more == (180,)


def test_the_finest_rows_are_kept_for_two_days(path: str, store: Store) -> None:
    """The minutes of them stay."""
    write(store, list(pasts.samples(600, 1)))
    for hour in range(0, 60, 2):  # the agent was busy elsewhere: what matters is the clock
        write(store, list(pasts.samples(20, 1, start=START + DAY + hour * HOUR)))

    newest = START + DAY + 58 * HOUR + 10
    ((oldest,),) = select(path, "SELECT min(key) FROM databases_10")
    assert isinstance(oldest, int)
    assert newest - 2 * DAY - HOUR <= time_of(oldest) <= newest - 2 * DAY + 3 * HOUR
    assert orders(read(path, 600, 60)) != []


def test_a_clock_that_is_years_ahead_for_a_while_costs_no_history(path: str, store: Store) -> None:
    """And what comes after it is folded as ever."""
    write(store, list(pasts.samples(10 * 60, 1)))
    store.write([next(pasts.samples(10, 1, start=START + 4000 * DAY))])
    write(store, list(pasts.samples(30 * 60, 1, start=START + 10 * 60)))

    assert len(orders(read(path, 40 * 60, 60))) == 40
    keys = [row_key for (row_key,) in select(path, "SELECT key FROM databases_60")]
    minutes = [k for k in keys if isinstance(k, int) and time_of(k) < START + DAY]
    assert len(minutes) == 39


def test_a_clock_that_was_set_back_breaks_nothing(path: str, store: Store) -> None:
    """The later of two samples of one moment holds."""
    write(store, list(pasts.samples(600, 1)))
    write(store, list(pasts.samples(600, 1, start=START - 300, seed=8)))

    times = read(path, 2000, 10, START - 1000).databases[0].line.times
    assert list(times) == sorted(set(times))
    assert len(times) == 90


def test_above_its_limit_the_oldest_goes(tmp_path: Path) -> None:
    """And the file grows no further: what is free is used again."""
    path = str(tmp_path / "history.db")
    small = Store(path, 400 * 1024)
    write(small, list(pasts.samples(16 * HOUR, 2, step=60)), each=60)
    small.close()

    ((oldest,),) = select(path, "SELECT min(key) FROM databases_10")
    assert isinstance(oldest, int)
    assert time_of(oldest) > START
    assert os.stat(path).st_size < 1_000_000
    assert orders(read(path, 16 * HOUR, 10)) != []


def test_a_clock_that_is_years_ahead_at_the_start_costs_no_more_than_hours_of_events(
    path: str,
) -> None:
    """The host's clock may be set a minute after the agent's start."""
    store = Store(path, LIMIT)
    hours = [pasts.episode("orders", START + hour * HOUR) for hour in range(48)]
    store.write([pasts.events(START + 2 * DAY, *hours)])
    store.close()
    ahead = Store(path, LIMIT)
    ahead.write([next(pasts.samples(10, 1, start=START + 4000 * DAY))])
    ahead.close()

    assert select(path, "SELECT count(*) FROM episodes") == [(48 - 4,)]


def test_above_the_limit_events_go_too(tmp_path: Path) -> None:
    """An alert that flaps for months could be all that there is."""
    path = str(tmp_path / "history.db")
    store = Store(path, 100 * 1024)
    for hour in range(240):
        at = START + hour * HOUR
        flaps = [pasts.alert("A", at + n, at + n, database="orders") for n in range(60)]
        store.write([pasts.events(at, *flaps)])
    for minute in range(0, 4000, 10):
        store.write([pasts.events(at + 60 * minute)])
    used = store._upkeep._used_bytes()
    store.close()

    assert used <= 110 * 1024
    assert select(path, "SELECT count(*) > 0 FROM alerts") == [(1,)]


@pytest.mark.parametrize(("days", "kept"), [(729, 1), (731, 0)])
def test_events_are_kept_for_two_years(path: str, days: int, kept: int) -> None:
    """Like everything else."""
    store = Store(path, LIMIT)
    alert = pasts.alert("A", START, START + 9, database="orders")
    store.write([pasts.events(START, pasts.episode("orders", START), alert)])
    store.close()
    later = Store(path, LIMIT)
    later.write([pasts.events(START + days * DAY, pasts.score("orders", "v4", 1, 0.5))])
    later.close()

    assert select(path, "SELECT count(*) FROM episodes") == [(kept,)]
    assert select(path, "SELECT count(*) FROM alerts") == [(kept,)]
    assert select(path, "SELECT count(*) FROM scores") == [(1,)]


def test_a_later_report_of_an_episode_replaces_the_earlier(path: str, store: Store) -> None:
    """It is measured anew while it lasts; withdrawn, it was none."""
    open_ = pasts.episode("orders", START, status="open", puts_per_second=50_000.0)
    closed = pasts.episode("orders", START, puts_per_second=60_000.0)
    store.write([pasts.events(START + 60, open_, pasts.episode("orders", START + 5000))])
    store.write([pasts.events(START + 120, closed)])
    gone = pasts.episode("orders", START + 5000, status="withdrawn")
    store.write([pasts.events(START + 180, gone)])

    (episode,) = read(path).databases[0].episodes
    assert (episode.puts_per_second, episode.closed) == (60_000.0, True)
    assert (episode.kind, episode.cause) == ("delay", "l0_files")


def test_an_alert_is_open_until_it_ends(path: str, store: Store) -> None:
    """Written twice, as after a restart, it is still one."""
    store.write([pasts.events(START, pasts.alert("A", START, database="orders"))])
    store.write([pasts.events(START + 5, pasts.alert("A", START, database="orders"))])
    assert [alert.ended for alert in read(path).alerts] == [None]

    store.write([pasts.events(START + 9, pasts.alert("A", START, START + 9, database="orders"))])
    assert [(a.ended, a.database, a.summary) for a in read(path).alerts] == [
        (START + 9, "orders", "A of orders")
    ]


def test_an_alert_that_ended_while_no_agent_ran_is_closed(path: str, store: Store) -> None:
    """The first sample of a run names all that are open; the others are over."""
    ended = pasts.alert("Ended", START, database="orders")
    lasting = pasts.alert("Lasting", START + 1, device="nvme0n1")
    store.write([pasts.events(START + 1, ended, lasting)])
    later = pasts.events(START + 500, lasting)
    store.write([Sample(later.wall_seconds, (), (), later.alerts, (), first=True)])

    assert {(a.alert, a.ended) for a in read(path).alerts} == {
        ("Ended", START + 500),
        ("Lasting", None),
    }


def test_a_version_1_file_is_brought_up_to_date(tmp_path: Path) -> None:
    """With everything in it, and the very tables of a new file."""
    path = str(tmp_path / "history.db")
    shutil.copy(VERSION_1, path)
    before = select(path, "SELECT key, observed_puts_per_second FROM databases_10")
    store = Store(path, LIMIT)
    write(store, list(pasts.samples(120, 1, start=START + 1300)))
    store.write([pasts.events(START + 1420, pasts.score("orders", "v4", 1, 0.5))])
    store.close()
    fresh = str(tmp_path / "fresh.db")
    Store(fresh, LIMIT).close()

    assert select(path, "PRAGMA user_version") == [(schema.VERSION,)]
    assert columns(path) == columns(fresh)
    assert select(path, "SELECT key, observed_puts_per_second FROM databases_10")[:130] == before
    past = read(path)
    assert len(orders(past)) == 142
    assert [alert.alert for alert in past.alerts] == ["RocksdbWriteStopped"]
    assert past.devices["nvme0n1"].numbers("endurance_used_ratio")[0] is None
    assert past.devices["nvme0n1"].numbers("endurance_used_ratio")[-1] == 0.07


def columns(path: str) -> dict[str, set[object]]:
    names = select(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        str(name): {row[1] for row in select(path, f"PRAGMA table_info({name})")}
        for (name,) in names
    }


def test_the_version_1_file_is_older_than_the_present() -> None:
    """Else the test above would show nothing."""
    assert select(str(VERSION_1), "PRAGMA user_version") == [(1,)]
    assert set(schema.MIGRATIONS) == set(range(1, schema.VERSION))


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """It is one transaction."""
    path = str(tmp_path / "history.db")
    shutil.copy(VERSION_1, path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE scores (something REAL)")
    connection.close()
    with pytest.raises(sqlite3.Error, match="scores") as caught:
        Store(path, LIMIT)

    assert is_damage(caught.value)
    assert select(path, "PRAGMA user_version") == [(1,)]


def test_a_file_of_a_later_version_is_not_touched(path: str) -> None:
    """Its reader would know more than this one."""
    Store(path, LIMIT).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = Path(path).read_bytes()

    with pytest.raises(NewerHistory, match="version 99"):
        Store(path, LIMIT)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_damaged(path: str, content: bytes) -> None:
    """However long it is."""
    Path(path).write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        Store(path, LIMIT)

    assert is_damage(caught.value)


def test_a_database_of_something_else_is_not_written_to(path: str) -> None:
    """It is set aside by the caller."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = Path(path).read_bytes()

    with pytest.raises(DamagedHistory, match="something else"):
        Store(path, LIMIT)
    assert Path(path).read_bytes() == before


def test_an_empty_file_is_a_new_one(path: str) -> None:
    """An agent may have died between making it and writing to it."""
    Path(path).touch(0o600)
    store = Store(path, LIMIT)
    write(store, list(pasts.samples(10, 1)))
    store.close()

    assert len(orders(read(path))) == 1


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    """The agent may run as root."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "history.db").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DamagedHistory, match="regular"):
        Store(str(tmp_path / "history.db"), LIMIT)
    with pytest.raises(DamagedHistory, match="regular"):
        Store(str(tmp_path / "pipe"), LIMIT)
    assert target.read_text() == "precious"


def test_it_never_lies_in_a_database(tmp_path: Path) -> None:
    """Whatever the configuration came to say of that directory."""
    (tmp_path / "CURRENT").write_text("MANIFEST-000001\n")
    (tmp_path / "IDENTITY").write_text("x")

    with pytest.raises(OSError, match="lies in the database"):
        Store(str(tmp_path / "history.db"), LIMIT)
    assert not (tmp_path / "history.db").exists()


def test_a_file_that_was_removed_is_noticed(path: str, store: Store) -> None:
    """SQLite would go on writing into nothing."""
    assert store.is_in_place()
    Path(path).unlink()
    assert not store.is_in_place()


def test_what_is_set_aside_can_be_looked_at(path: str) -> None:
    """With the log that belongs to it."""
    store = Store(path, LIMIT)
    write(store, list(pasts.samples(60, 1)))
    connection = sqlite3.connect(path)  # so that closing does not end the log
    connection.execute("SELECT count(*) FROM words").fetchone()
    store.close()
    told = set_aside(path, "damaged")
    connection.close()

    assert told == f"it is kept as {path}.damaged"
    assert not Path(path).exists()
    assert select(f"{path}.damaged", "SELECT count(*) FROM databases_10") == [(6,)]


def test_what_was_set_aside_first_is_not_lost_to_an_empty_one(path: str) -> None:
    """A drive that fails damages each new file, too."""
    Path(path).write_bytes(b"x" * 5000)
    set_aside(path, "damaged")
    Path(path).write_bytes(b"y" * 100)
    told = set_aside(path, "damaged")

    assert "kept instead" in told
    assert Path(f"{path}.damaged").read_bytes() == b"x" * 5000
    assert not Path(path).exists()


def test_a_failed_commit_leaves_nothing_and_can_be_repeated(path: str, store: Store) -> None:
    """The numbers given to names in it are forgotten, too."""
    samples = list(pasts.samples(60, 1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._connection.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.write(samples)
    other.execute("ROLLBACK")
    other.close()
    store._connection.execute(
        "CREATE TRIGGER fails BEFORE INSERT ON models_10 BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="full"):
        store.write(samples)
    assert select(path, "SELECT count(*) FROM words") == [(0,)]
    store._connection.execute("DROP TRIGGER fails")
    store.write(samples)

    assert len(orders(read(path))) == 6


def test_what_is_written_is_accounted(tmp_path: Path) -> None:
    """By the kernel, in whole pages; in memory there is nothing to wear."""
    before = written_by_this_thread()
    store = Store(str(tmp_path / "history.db"), LIMIT)
    opened = written_by_this_thread() - before
    write(store, list(pasts.samples(600, 4)))
    store.close()
    written = written_by_this_thread() - before

    in_memory = shutil.disk_usage(tmp_path).total and _filesystem(tmp_path) in {"tmpfs", "ramfs"}
    assert written == 0 if in_memory else written > opened > 0


def _filesystem(directory: Path) -> str:
    best = ("", "")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if str(directory).startswith(words[4]) and len(words[4]) >= len(best[0]):
            best = (words[4], words[words.index("-") + 1])
    return best[1]


def test_readers_do_not_hold_up_the_writer(path: str, store: Store) -> None:
    """Nor do they see half of a commit."""
    write(store, list(pasts.samples(60, 1)))
    with HistoryFile(path) as file:
        before = len(orders(file.read(START, START + DAY, 10)))
        write(store, list(pasts.samples(60, 1, start=START + 60)))
        during = len(orders(file.read(START, START + DAY, 10)))
    after = len(orders(read(path)))

    assert (before, during, after) == (6, 6, 12)


def test_a_reader_writes_nothing(path: str, store: Store) -> None:
    """It may be root, and the file the daemon's."""
    write(store, list(pasts.samples(60, 1)))
    with HistoryFile(path) as file, pytest.raises(sqlite3.OperationalError, match="readonly"):
        file._connection.execute("DELETE FROM databases_10")


@pytest.mark.parametrize("content", [b"", b"nonsense" * 600])
def test_a_reader_says_what_is_wrong(path: str, content: bytes) -> None:
    """In one sentence."""
    Path(path).write_bytes(content)
    with pytest.raises(HistoryUnreadable, match="history") as told:
        HistoryFile(path)
    assert "as root" not in str(told.value)


def test_a_reader_that_meets_damage_says_what_becomes_of_it(path: str, store: Store) -> None:
    """To be somebody else would not help."""
    write(store, list(pasts.samples(600, 1)))
    store.close()
    ((page,),) = select(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'databases_10'")
    assert isinstance(page, int)
    with Path(path).open("r+b") as file:
        file.seek((page - 1) * schema.PAGE_BYTES)
        file.write(b"\xa5" * schema.PAGE_BYTES)

    with HistoryFile(path) as history, pytest.raises(HistoryUnreadable, match="sets it aside"):
        history.read(START, START + DAY, 10)


def test_all_that_is_on_record_can_be_asked_for(path: str, store: Store) -> None:
    """From 1970 on: only the part with rows is gone through."""
    write(store, list(pasts.samples(2 * HOUR, 1)))
    with HistoryFile(path) as file:
        asked: list[str] = []
        file._connection.set_trace_callback(asked.append)
        past = file.read(0, START + 30 * DAY, 21600)

    assert past.databases[0].line.numbers("samples") == [720.0]
    assert len(asked) < 100


def test_a_reader_of_another_version_says_so(tmp_path: Path) -> None:
    """It would misread the tables."""
    path = str(tmp_path / "history.db")
    shutil.copy(VERSION_1, path)
    with pytest.raises(HistoryUnreadable, match="version 1"):
        HistoryFile(path)


def test_a_file_with_wrong_content_is_told_of(path: str, store: Store) -> None:
    """SQLite takes text for a number."""
    write(store, list(pasts.samples(10, 1)))
    store._connection.execute("UPDATE databases_10 SET observed_puts_per_second = 'many'")
    with HistoryFile(path) as file, pytest.raises(HistoryUnreadable, match="no sense"):
        file.read(START, START + DAY, 10)


def test_every_table_has_the_columns_of_its_kind(path: str, store: Store) -> None:
    """At each resolution; a longer period has extremes and a count besides."""
    del store
    found = columns(path)
    for table in TABLES:
        assert found[f"{table.name}_10"] == {"key", *table.stored(folded=False)}
        assert found[f"{table.name}_600"] == {"key", *table.stored(folded=True)}
    assert "observed_puts_per_second_max" in found[f"{DATABASES.name}_60"]
