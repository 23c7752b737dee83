"""The host check: exit code and line, for every state a host can be in."""

import dataclasses

import msgspec
import pytest

from agent.alerts.engine import AlertState
from agent.api import status_document
from agent.commands.check import CRITICAL, OK, UNKNOWN, WARNING, check_host, judge
from agent.readings import Missing
from agent.snapshot import DatabaseSnapshot, Snapshot
from tests.unit import snapshots
from tests.unit.snapshots import AT

OTHER = dataclasses.replace(snapshots.busy_database(), name="other", path="/srv/other")
ORDERS_FIGURES = "orders: 57,000 of 131,670 puts/s, headroom 57 %"


def host(*databases: DatabaseSnapshot, alerts: tuple[AlertState, ...] = ()) -> Snapshot:
    return dataclasses.replace(snapshots.snapshot(), databases=databases, alerts=alerts)


def alert(
    severity: str, database: str = "orders", device: str = "", *, active: bool = True
) -> AlertState:
    return AlertState(
        alert=f"{severity}_rule",
        severity=severity,
        database=database,
        device=device,
        active=active,
        pending_since=None,
        since_wall_seconds=None,
        value=1.0,
        data_missing=False,
        summary="it is bad",
    )


def judged(snapshot: Snapshot, name: str | None = None, now: float = AT) -> tuple[int, str]:
    return judge(status_document(snapshot, now), name)


def test_a_healthy_host_is_ok_with_performance_data() -> None:
    """One line that a graph can be drawn from."""
    assert judged(host(snapshots.busy_database())) == (
        OK,
        f"{ORDERS_FIGURES} | 'orders puts'=57000 'orders s_max'=131670",
    )


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        (("warning",), WARNING),
        (("critical",), CRITICAL),
        (("warning", "critical"), CRITICAL),
        ((), OK),
    ],
)
def test_the_worst_active_alert_decides(severities: tuple[str, ...], code: int) -> None:
    """Critical before warning; none is ok."""
    alerts = tuple(alert(severity) for severity in severities)

    assert judged(host(snapshots.busy_database(), alerts=alerts))[0] == code


def test_an_inactive_alert_does_not_count() -> None:
    """Pending is not active."""
    quiet = alert("critical", active=False)

    assert judged(host(snapshots.busy_database(), alerts=(quiet,)))[0] == OK


def test_an_alert_is_named_with_its_summary_and_the_figures() -> None:
    """The line alone tells what to look at."""
    assert judged(host(snapshots.busy_database(), alerts=(alert("critical"),))) == (
        CRITICAL,
        f"critical_rule (it is bad) - {ORDERS_FIGURES} | 'orders puts'=57000 'orders s_max'=131670",
    )


@pytest.mark.parametrize(
    ("database", "device", "name", "code"),
    [
        ("orders", "", "orders", CRITICAL),
        ("other", "", "orders", OK),
        ("other", "nvme0n1", "orders", OK),
        ("", "nvme0n1", "orders", CRITICAL),
        ("", "sdz", "orders", OK),
        ("", "sdz", None, CRITICAL),
    ],
)
def test_one_database_is_judged_by_its_own_alerts_and_its_devices(
    database: str, device: str, name: str | None, code: int
) -> None:
    """Trouble elsewhere on the host is not its trouble."""
    alerts = (alert("critical", database, device),)

    assert judged(host(snapshots.busy_database(), OTHER, alerts=alerts), name)[0] == code


def test_a_database_that_is_not_watched_is_unknown() -> None:
    """The line names those that are."""
    assert judged(host(snapshots.busy_database(), OTHER), "nope") == (
        UNKNOWN,
        "no database 'nope' is watched; known: orders, other",
    )


def test_a_host_without_databases_is_unknown() -> None:
    """Nothing running is not the same as everything fine."""
    assert judged(host()) == (UNKNOWN, "no database is running")


def test_a_missing_s_max_is_unknown() -> None:
    """With the reason, also when other databases have theirs."""
    code, text = judged(host(snapshots.busy_database(), snapshots.lost_database()))

    assert code == UNKNOWN
    assert "/srv/idle: unknown puts/s, S_max unknown: /srv/idle does not exist" in text


def test_an_alert_outranks_a_missing_number() -> None:
    """What is known to be bad is said."""
    assert judged(host(snapshots.lost_database(), alerts=(alert("warning"),)))[0] == WARNING


def test_an_agent_that_does_not_tick_is_unknown() -> None:
    """Its old numbers, and its old alerts, prove nothing."""
    late = judged(host(snapshots.busy_database(), alerts=(alert("critical"),)), now=AT + 60.0)

    assert late == (UNKNOWN, "the agent has not ticked for 60 s")


def test_an_unknown_put_rate_keeps_the_check_ok_and_the_figure_undefined() -> None:
    """ "U" is how performance data says that a value is not there."""
    blind = dataclasses.replace(
        snapshots.busy_database(),
        observed_puts_per_second=Missing("stale", "too old"),
        headroom_ratio=Missing("stale", "too old"),
    )

    assert judged(host(blind)) == (
        OK,
        "orders: unknown of 131,670 puts/s, headroom unknown"
        " | 'orders puts'=U 'orders s_max'=131670",
    )


def test_a_quote_in_a_name_does_not_break_the_performance_data() -> None:
    """Labels are quoted with it."""
    odd = dataclasses.replace(snapshots.busy_database(), name="it's")

    assert judged(host(odd))[1].endswith("| 'its puts'=57000 'its s_max'=131670")


@pytest.mark.parametrize(
    "words",
    [
        ("--db",),
        ("--url",),
        ("--nope",),
        ("--nope", "x"),
        ("extra",),
        ("--db", "x", "extra"),
        ("-v",),
        ("--db", "x", "--url", "http://127.0.0.1:1"),
        ("--url=http://127.0.0.1:1",),
        ("--url=nonsense://",),
    ],
)
def test_bad_usage_and_no_daemon_are_unknown_in_one_line(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3 and one line on standard output, where a host check's line is read."""
    code = check_host(words, {"SMAXD_URL": "http://127.0.0.1:1"})
    output = capsys.readouterr()

    assert (code, output.err) == (UNKNOWN, "")
    assert output.out.startswith("SMAXD UNKNOWN: ")
    assert output.out.count("\n") == 1


def test_a_daemon_that_does_not_tell_what_is_asked_is_unknown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be of another version; a traceback would end with 1, which is a warning."""
    document = status_document(host(snapshots.busy_database()), AT)
    database = msgspec.structs.replace(document.databases[0], quantities={})
    odd = msgspec.structs.replace(document, databases=(database,))
    monkeypatch.setattr("agent.commands.check.fetch_status", lambda _: (odd, {}))

    assert check_host((), {}) == UNKNOWN
    assert "another version of smaxd" in capsys.readouterr().out
