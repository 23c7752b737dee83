"""What people see in a terminal: readable, at most 80 columns, whatever is in it."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.lifecycle import Alerting
from agent.alerts.standing import Standing
from agent.api import status_document
from agent.bandwidth import Capacity
from agent.readings import Known, Missing, Quantity
from agent.render import WIDTH, plain, status_lines
from agent.snapshot import Snapshot
from agent.status_documents import StatusDocument
from probes.rocksdb.samples import StallCondition
from tests.unit import snapshots
from tests.unit.snapshots import AT, WALL


def shown(snapshot: Snapshot | None = None, now: float = AT + 2.0) -> str:
    return plain(status_lines(status_document(snapshot or snapshots.snapshot(), now)))


def healthy() -> Snapshot:
    """One database that has no trouble."""
    database = dataclasses.replace(
        snapshots.busy_database(),
        stalls=Known((), "log", AT),
        background_error=Known(None, "log", AT),
    )
    return dataclasses.replace(
        snapshots.snapshot(), databases=(database,), probes=(), alerts=(), hidden_databases=0
    )


def observed(rate: Quantity, headroom: Quantity) -> Snapshot:
    database = dataclasses.replace(
        healthy().databases[0], observed_puts_per_second=rate, headroom_ratio=headroom
    )
    return dataclasses.replace(healthy(), databases=(database,))


def test_a_healthy_database_at_a_glance() -> None:
    """S_max, how close, what limits, where it lies."""
    assert shown(healthy()) == (
        "smaxd 1.2.3   tick 42, 2 s ago\n"
        "\n"
        "orders  RocksDB 9.8.4, pid 4711\n"
        "  S_max     131,670 puts/s  110,000 .. 150,000  bottleneck, medium\n"
        "  limit     write bandwidth of the device\n"
        "  observed  57,000 puts/s  headroom 57 %  [#########-----------]\n"
        "  models    v4 114,000   v4.1 131,670   bottleneck 125,000\n"
        "  writes    flowing  13 s of stalls in the LOG read\n"
        "  bandwidth 2,400 MiB/s available  (foreign 100, own compaction 300 MiB/s)\n"
        "  records   1,040 B each, write amplification 6.2, 123,456,789 writes so far\n"
        "  LSM       files by level 21 2, 3.3 GiB, 1.9 GiB pending\n"
        "  device    no block device behind /wal: it is tmpfs\n"
        "  CPU       1.5 of 8 cores, quota 2, host 75 % busy, I/O pressure 25 %\n"
        "  nvme0n1   2,800 MiB/s +- 4 % write capacity  fio, 1 min ago\n"
        "            now writing 480 MiB/s, 0.4 ms a write\n"
        "            372.5 GiB free, probes wrote 128.0 MiB, 825.9 MiB left today\n"
        "            7 % of the rated endurance used, worn out in 3704 d at its mean rate\n"
        "            fio: writes were stopped or delayed 12 s ago\n"
    )


def test_a_database_that_is_gone_says_why() -> None:
    """Every line has the reason instead of a number."""
    text = shown()
    part = text[text.index("/srv/idle  RocksDB, no owner seen") :]

    assert "S_max     /srv/idle does not exist" in part
    assert "observed  /srv/idle does not exist" in part
    assert "bandwidth /srv/idle does not exist" in part
    assert "writes    stall state unknown" in part
    assert "LSM       shape unknown" in part
    assert " 0 puts/s" not in part


def test_active_alerts_come_first() -> None:
    """Those that are pending or quiet are not shown."""
    lines = shown().splitlines()

    stopped = "CRITICAL RocksdbWriteStopped: RocksDB has stopped writes to orders: l0_files"
    assert lines[1] == stopped
    assert "RocksdbWriteHeadroomLow" not in shown()


def test_an_alert_that_somebody_takes_care_of_is_marked() -> None:
    """It fires all the same."""
    whole = snapshots.snapshot()
    firing = next(state for state in whole.alerts if state.active)
    standing = Standing("00ff", "firing", 1, 60.0, 60.0)
    alerting = Alerting(standings={firing.key: standing})
    text = shown(dataclasses.replace(whole, alerting=alerting))

    assert "CRITICAL RocksdbWriteStopped (silenced, acknowledged): RocksDB has stopped" in text


def test_a_failing_probe_is_shown_and_one_without_data_is_not() -> None:
    """What is normal needs no line."""
    assert "probe fingerprint /srv/idle does not exist" in shown()
    assert "probe pressure" not in shown()


def test_hidden_databases_come_with_the_command_that_finds_them() -> None:
    """The operator learns what to do."""
    assert "sudo smaxd discover --write-config /etc/smaxd/smaxd.yaml" in shown()
    assert "sudo" not in shown(healthy())


def test_an_empty_host_says_so() -> None:
    """No database is an answer."""
    empty = dataclasses.replace(healthy(), databases=(), devices=())

    assert shown(empty).splitlines()[1] == "no RocksDB database found on this host"


def test_a_background_error_outranks_a_stall() -> None:
    """Writes are stopped for good."""
    assert "STOPPED for good: IO error: No space left on device" in shown()


@pytest.mark.parametrize(
    ("state", "rate", "text"),
    [
        ("delayed", 16 * 1048576.0, "DELAYED to 16.0 MiB/s by l0_files (default)"),
        ("stopped", None, "STOPPED by l0_files (default)"),
    ],
)
def test_a_stall_is_shown_with_its_cause(state: str, rate: float | None, text: str) -> None:
    """And with the rate that RocksDB still allows."""
    stall = StallCondition("default", state, "l0_files", WALL, rate)
    database = dataclasses.replace(healthy().databases[0], stalls=Known((stall,), "log", AT))

    assert text in shown(dataclasses.replace(healthy(), databases=(database,)))


@pytest.mark.parametrize(
    ("headroom", "percent", "bar", "style"),
    [
        (1.0, "100 %", "[--------------------]", "green"),
        (0.25, "25 %", "[###############-----]", "green"),
        (0.2, "20 %", "[################----]", "yellow"),
        (0.05, "5 %", "[###################-]", "red"),
        (0.0, "0 %", "[####################]", "red"),
        (-0.5, "-50 %", "[####################]", "red"),
        (2.0, "200 %", "[--------------------]", "green"),
    ],
)
def test_the_headroom_has_a_bar_and_a_colour(
    headroom: float, percent: str, bar: str, style: str
) -> None:
    """The bar is how much is used; beyond either end it stays within its frame."""
    one = observed(Known(1000.0, "wal", AT), Known(headroom, "wal", AT))
    pieces = [p for line in status_lines(status_document(one, AT)) for p in line]

    assert (percent, f"bold {style}") in pieces
    assert (f"  {bar}", style) in pieces


def test_an_unknown_headroom_leaves_the_rate_alone() -> None:
    """And an unknown rate leaves its reason."""
    rate = Known(1000.0, "wal", AT)
    unknown = Missing("not_yet_measured", "it takes two readings")

    assert "  observed  1,000 puts/s\n" in shown(observed(rate, unknown))
    assert "  observed  it takes two readings\n" in shown(observed(unknown, unknown))


def test_a_lower_bound_is_called_one() -> None:
    """A capacity that was only ever exceeded is "at least"."""
    device = snapshots.device()
    assert isinstance(device.capacity, Known)
    bound = Capacity(device.capacity.value.bytes_per_second, None, lower_bound=True)
    lower = dataclasses.replace(device, capacity=Known(bound, "observed traffic", AT))

    assert "at least 2,800 MiB/s write capacity  observed traffic" in shown(
        dataclasses.replace(healthy(), devices=(lower,))
    )


def test_a_loop_that_hangs_is_shown_at_the_top() -> None:
    """Before anything that might be believed."""
    assert "STALLED" in shown(healthy(), AT + 100.0).splitlines()[0]


def test_the_fixed_snapshot_fits_the_terminal() -> None:
    """Nothing of the ordinary case is too wide, and nothing is cut."""
    assert [line for line in shown().splitlines() if len(line) > WIDTH or "..." in line] == []


texts = st.text(max_size=200)
numbers = st.floats(allow_nan=True, allow_infinity=True)


def corrupted(document: StatusDocument, text: str, number: float) -> StatusDocument:
    """The document with every string and every quantity replaced."""
    raw = msgspec.to_builtins(document)

    def replace(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {k: replace(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [replace(v, key) for v in value]
        if isinstance(value, str) and key not in {"role"}:
            return text
        if isinstance(value, float):
            return number
        return value

    return msgspec.convert(replace(raw), StatusDocument)


@given(text=texts, number=numbers)
def test_no_text_and_no_number_breaks_the_terminal(text: str, number: float) -> None:
    """Never wider than 80 columns, never a control character, never an exception."""
    document = corrupted(status_document(snapshots.snapshot(), AT), text, number)
    lines = plain(status_lines(document)).split("\n")

    assert [line for line in lines if len(line) > WIDTH] == []
    assert [line for line in lines if not (line.isprintable())] == []
