"""``smaxd alerts``, ``ack``, ``silence``, ``unsilence``, beside an agent that serves its status."""

import dataclasses
import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest
from click.testing import CliRunner

from agent.alerts.notice import Notification
from agent.alerts.orders import MAX_COMMENT, MAX_ORDERS, Order, decode_orders, encode_orders
from agent.alerts.orders_file import FILE_NAME, OrdersProbe, TooManyOrders, change_orders
from agent.alerts.rules import Observation
from agent.cli import cli
from agent.http import HttpServer, application
from agent.loop import Published
from probes.errors import NoData, ProbeFailed
from tests.unit import snapshots
from tests.unit.alert_life import Host, delayed, shown, sick, silence, stopped

HOUR = 3600.0


class Agent:
    """An agent's alerts: reads the orders each tick, as the probe does, and serves the status."""

    def __init__(self, directory: Path) -> None:
        self.host = Host(wall=time.time())
        self.published = Published()
        self.probe = OrdersProbe(str(directory))
        self.directory: str | None = str(directory)
        self.server = HttpServer(
            application(self.published, snapshots.FixedClock()), "127.0.0.1", 0
        )
        self.server.start()

    def tick(self, *observed: Observation, times: int = 1) -> list[tuple[str, list[str]]]:
        """What was told, for people."""
        told: list[Notification] = []
        for _ in range(times):
            try:
                self.host.orders = self.probe.read()
            except NoData:
                self.host.orders = ()
            except ProbeFailed:
                self.host.orders = None
            told += self.host.tick(*observed)
        snapshot = dataclasses.replace(
            snapshots.snapshot(),
            wall_seconds=self.host.wall,
            alerts=self.host.book.states,
            alerting=self.host.last,
            state_directory=self.directory,
        )
        self.published.put(snapshot, 0.01)
        return shown(told)

    def run(self, *words: str) -> click.testing.Result:
        """A command that asks this agent."""
        address = f"http://{self.server.address}"
        return CliRunner().invoke(cli, [words[0], "--url", address, *words[1:]])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    one = Agent(tmp_path)
    yield one
    one.server.stop()


def fingerprint_of(agent: Agent, alert: str) -> str:
    listed = json.loads(agent.run("alerts", "--json").stdout)["alerts"]
    (found,) = [entry["fingerprint"] for entry in listed if entry["alert"] == alert]
    assert isinstance(found, str)
    return found


def test_what_fires_is_listed_with_its_value_and_since_when(agent: Agent) -> None:
    """What is quiet only when asked for."""
    agent.tick(stopped(device="sda"), delayed(0.0))
    listed = agent.run("alerts")
    assert listed.exit_code == 0
    line, summary = listed.stdout.splitlines()
    assert re.fullmatch(
        r"FIRING  critical  RocksdbWriteStopped  orders \(sda\)  since \d{4}-\d\d-\d\d [\d:]{8}  "
        r"value 1",
        line,
    )
    assert summary == f"  {fingerprint_of(agent, 'RocksdbWriteStopped')}  stops orders"
    assert "RocksdbWriteDelayed" in agent.run("alerts", "--all").stdout


def test_nothing_that_fires_is_said_so(agent: Agent) -> None:
    """An empty output could be anything."""
    agent.tick(stopped(0.0))
    assert agent.run("alerts").stdout == "no alert fires\n"
    assert json.loads(agent.run("alerts", "--json").stdout) == {"alerts": [], "alert_orders": []}


def test_an_acknowledged_alert_says_so_and_is_not_repeated(agent: Agent) -> None:
    """By its name; the end is told nevertheless."""
    agent.tick(stopped(), times=4)
    done = agent.run("ack", "RocksdbWriteStopped", "--for", "12h", "--comment", "on it")
    assert (done.exit_code, done.stdout.count("acknowledged RocksdbWriteStopped (critical)")) == (
        0,
        1,
    )
    assert agent.tick(stopped(), times=720) == []
    listed = agent.run("alerts").stdout
    assert "acknowledged until" in listed.splitlines()[0]
    assert f"by uid {os.getuid()}: on it" in listed.splitlines()[-1]
    assert agent.tick(stopped(0.0), times=4) == [("resolved", ["RocksdbWriteStopped orders"])]


def test_a_fingerprint_or_its_beginning_names_one_alert(agent: Agent) -> None:
    """Of two with the same name, only this one is acknowledged."""
    agent.tick(stopped(database="a"), stopped(database="b"), times=4)
    listed = json.loads(agent.run("alerts", "--json").stdout)["alerts"]
    wanted = next(entry["fingerprint"] for entry in listed if entry["database"] == "b")
    assert agent.run("ack", wanted[:6].upper()).exit_code == 0
    told = agent.tick(stopped(database="a"), stopped(database="b"), times=360)
    assert told == [("repeated", ["RocksdbWriteStopped a"])]


def test_an_acknowledgement_can_be_of_one_database(agent: Agent) -> None:
    """With --db; a second one takes the place of the first."""
    agent.tick(stopped(database="a"), stopped(database="b"))
    for hours in ("1h", "2h"):
        assert agent.run("ack", "RocksdbWriteStopped", "--db", "b", "--for", hours).exit_code == 0
    agent.tick(stopped(database="a"), stopped(database="b"))
    (order,) = json.loads(agent.run("alerts", "--json").stdout)["alert_orders"]
    assert (order["kind"], order["database"]) == ("acknowledgement", "b")
    assert order["until"] - order["since"] == pytest.approx(2 * HOUR, abs=30.0)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["RocksdbWriteDelayed"], 1, "does not fire, so there is nothing to acknowledge; firing"),
        (["RocksdbWriteStoped"], 2, "did you mean RocksdbWriteStopped?"),
        (["xyz"], 2, "is no alert; known: RocksdbBackgroundError, "),
        (["0000ffff"], 1, "does not fire"),
        (["RocksdbWriteStopped", "--db", "other"], 1, "RocksdbWriteStopped of other does not fire"),
        (["RocksdbWriteStopped", "--for", "long"], 2, "'long' is no duration"),
        (["RocksdbWriteStopped", "--comment", "x" * (MAX_COMMENT + 1)], 2, "longer than"),
    ],
)
def test_an_acknowledgement_of_what_is_not_there_is_refused(
    agent: Agent, tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    """In one line, that says what is there; and nothing is written."""
    agent.tick(stopped())
    ended = agent.run("ack", *words)
    assert (ended.exit_code, ended.stderr.count("\n")) == (code, 1)
    assert says in ended.stderr
    assert not (tmp_path / FILE_NAME).exists()


def test_a_silence_is_in_force_with_the_next_tick_and_ends(agent: Agent) -> None:
    """What it hid is told then."""
    agent.tick(stopped(0.0))
    done = agent.run("silence", "RocksdbWriteStopped", "10m", "--comment", "maintenance")
    assert done.exit_code == 0
    assert agent.tick(stopped(), times=59) == []
    listed = agent.run("alerts").stdout
    assert "silenced until" in listed
    assert "of RocksdbWriteStopped until" in listed
    assert "maintenance" in listed
    assert agent.tick(stopped(), times=8) == [("firing", ["RocksdbWriteStopped orders"])]


def test_a_silence_can_be_of_everything_or_of_a_database_or_a_device(agent: Agent) -> None:
    """Without an alert's name, any alert."""
    agent.tick(stopped(database="orders"))
    assert "nothing is told of any alert until" in agent.run("silence", "1h").stdout
    of_database = agent.run("silence", "1h", "--db", "orders").stdout
    assert "any alert of database orders until" in of_database
    of_device = agent.run("silence", "SsdWriteBandwidthDegraded", "1h", "--device", "nvme0n1")
    assert "SsdWriteBandwidthDegraded on device nvme0n1 until" in of_device.stdout
    agent.tick()
    assert len(json.loads(agent.run("alerts", "--json").stdout)["alert_orders"]) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "say how long: smaxd silence [ALERT] DURATION"),
        (["RocksdbWriteStopped"], "say how long: smaxd silence RocksdbWriteStopped DURATION"),
        (["RocksdbWriteStopped", "1h", "2h"], "say how long"),
        (["rocksdbwritestopped", "1h"], "did you mean RocksdbWriteStopped?"),
        (["1h", "--db", "nope"], "no database 'nope' is watched; known: orders, /srv/idle"),
        (["1h", "--device", "nope"], "no device 'nope' is watched; known: nvme0n1"),
        (["31d"], "is no duration"),
        (["1h", "--state", "/no/such/directory"], "/no/such/directory is no directory"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    agent: Agent, tmp_path: Path, words: list[str], says: str
) -> None:
    """A silence of a misspelt name would page somebody at night."""
    agent.tick(stopped())
    ended = agent.run("silence", *words)
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
    assert says in ended.stderr
    assert not (tmp_path / FILE_NAME).exists()


def test_a_silence_can_be_ordered_before_the_agent_runs(tmp_path: Path) -> None:
    """Its state directory is named; the names cannot be checked then."""
    ended = CliRunner().invoke(cli, ["silence", "2h", "--db", "new", "--state", str(tmp_path)])
    assert ended.exit_code == 0
    (order,) = decode_orders((tmp_path / FILE_NAME).read_bytes())
    assert (order.database, order.alert, order.uid) == ("new", None, os.getuid())
    assert order.seconds == pytest.approx(2 * HOUR)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_unsilence_ends_one_by_its_id_or_all(agent: Agent) -> None:
    """Acknowledgements only by their id."""
    agent.tick(stopped(), times=4)
    agent.run("ack", "RocksdbWriteStopped")
    ids = [re.findall(r"^silence (\w+):", agent.run("silence", "1h").stdout)[0] for _ in range(3)]
    ended = agent.run("unsilence", ids[0])
    assert (ended.exit_code, ended.stdout) == (0, f"ended silence {ids[0]}\n")
    ended = agent.run("unsilence", "--all")
    assert sorted(re.findall(r"ended silence (\w+)", ended.stdout)) == sorted(ids[1:])
    assert agent.run("unsilence", "--all").stdout == "nothing was silenced\n"
    agent.tick(stopped())
    (left,) = json.loads(agent.run("alerts", "--json").stdout)["alert_orders"]
    assert left["kind"] == "acknowledgement"
    assert agent.run("unsilence", left["id"]).stdout == f"ended acknowledgement {left['id']}\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "name one ID, or --all"),
        (["1234", "--all"], 2, "name one ID, or --all"),
        (["1234"], 1, "there is no silence or acknowledgement '1234'; known: none"),
    ],
)
def test_unsilence_says_what_is_missing(
    agent: Agent, words: list[str], code: int, says: str
) -> None:
    """One line."""
    agent.tick()
    ended = agent.run("unsilence", *words)
    assert (ended.exit_code, ended.stderr.count("\n"), says in ended.stderr) == (code, 1, True)


@pytest.mark.parametrize(
    "words", [["alerts"], ["ack", "RocksdbWriteStopped"], ["silence", "1h"], ["unsilence", "--all"]]
)
def test_without_an_agent_each_command_says_so(words: list[str]) -> None:
    """And ends with 1."""
    ended = CliRunner().invoke(cli, [*words, "--url", "http://127.0.0.1:1"])
    assert (ended.exit_code, ended.stderr.count("\n")) == (1, 1)
    assert "no smaxd answers" in ended.stderr


def test_an_agent_without_a_state_directory_cannot_be_told(agent: Agent) -> None:
    """There is nowhere to leave the order."""
    agent.directory = None
    agent.tick(stopped())
    ended = agent.run("silence", "1h")
    assert (ended.exit_code, "keeps no state on disk" in ended.stderr) == (1, True)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "CURRENT").write_text("MANIFEST-000001\n")
    (tmp_path / "MANIFEST-000001").write_bytes(b"")
    ended = CliRunner().invoke(cli, ["silence", "1h", "--state", str(tmp_path)])
    assert (ended.exit_code, ended.stderr.count("\n")) == (1, 1)
    assert str(tmp_path) in ended.stderr


def test_commands_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """Each waits for the other's change."""

    def add(number: int) -> None:
        order = silence(f"s{number}", since=time.time())
        change_orders(str(tmp_path), lambda before: (*before, order), time.time())

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {order.id for order in OrdersProbe(str(tmp_path)).read()} == {
        f"s{number}" for number in range(20)
    }


def test_orders_that_are_over_are_left_out_by_the_next_change(tmp_path: Path) -> None:
    """So the file does not grow."""
    old, new = silence("old", since=1000.0), silence("new", since=2000.0)
    change_orders(str(tmp_path), lambda before: (*before, old), 1000.0)
    change_orders(str(tmp_path), lambda before: (*before, new), 2000.0)
    assert OrdersProbe(str(tmp_path)).read() == (new,)


def test_there_is_a_limit_to_orders(tmp_path: Path) -> None:
    """The message says what to do; what is there stays."""
    many = tuple(silence(f"s{number}") for number in range(MAX_ORDERS))
    change_orders(str(tmp_path), lambda _: many, many[0].since_wall_seconds)
    with pytest.raises(TooManyOrders, match="smaxd unsilence"):
        change_orders(
            str(tmp_path), lambda before: (*before, silence("x")), many[0].since_wall_seconds
        )
    assert len(OrdersProbe(str(tmp_path)).read()) == MAX_ORDERS


def test_without_orders_the_probe_has_no_data(tmp_path: Path) -> None:
    """No file, no directory, an empty list: nothing is wrong."""
    with pytest.raises(NoData, match="no_orders"):
        OrdersProbe(None).read()
    probe = OrdersProbe(str(tmp_path))
    with pytest.raises(NoData, match="no_orders"):
        probe.read()
    change_orders(str(tmp_path), lambda _: (), 0.0)
    with pytest.raises(NoData, match="no_orders"):
        probe.read()


def of_length(seconds: float) -> bytes:
    return encode_orders((dataclasses.replace(silence(), until_wall_seconds=1.8e9 + seconds),))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0{]",
        b'{"version":2,"orders":[]}',
        b'{"version":1,"orders":[{"id":"x"}]}',
        of_length(0.0),
        of_length(-1.0),
        of_length(1e9),
    ],
)
def test_a_damaged_file_is_a_failure_of_the_probe_and_is_replaced_by_the_next_command(
    tmp_path: Path, content: bytes
) -> None:
    """It must be told; and an operator must be able to mend it."""
    (tmp_path / FILE_NAME).write_bytes(content)
    probe = OrdersProbe(str(tmp_path))
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "orders_unusable"
    assert "what was in force stays so" in caught.value.detail
    change_orders(str(tmp_path), lambda before: (*before, silence()), 1.8e9)
    assert probe.read() == (silence(),)


def test_a_link_or_a_pipe_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Nor does it keep the daemon waiting."""
    (tmp_path / "elsewhere").write_bytes(encode_orders((silence(),)))
    for make in (lambda path: path.symlink_to("elsewhere"), os.mkfifo):
        make(tmp_path / FILE_NAME)
        with pytest.raises(ProbeFailed):
            OrdersProbe(str(tmp_path)).read()
        (tmp_path / FILE_NAME).unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_orders_belongs_to_the_daemons_user(tmp_path: Path) -> None:
    """Who has to read it, and whose own commands have to lock it."""
    os.chown(tmp_path, 12345, 12345)
    change_orders(str(tmp_path), lambda before: (*before, silence("first")), 1.8e9)
    change_orders(str(tmp_path), lambda before: (*before, silence("second")), 1.8e9)
    assert {entry.stat().st_uid for entry in tmp_path.iterdir()} == {12345}
    content = (tmp_path / FILE_NAME).read_bytes()
    assert [order.id for order in decode_orders(content)] == ["first", "second"]


def test_a_silence_names_what_it_is_of_and_an_acknowledgement_is_none() -> None:
    """Each word narrows it."""
    order = silence(alert="A", database="d", device="sda")
    assert order.silences("A", "d", "sda")
    for labels in (("B", "d", "sda"), ("A", "e", "sda"), ("A", "d", "sdb")):
        assert not order.silences(*labels)
    acknowledgement = Order(
        id="a",
        kind="acknowledgement",
        fingerprint="f",
        occurrence=1,
        since_wall_seconds=0.0,
        until_wall_seconds=1.0,
        uid=0,
    )
    assert not acknowledgement.silences("A", "d", "sda")
    assert acknowledgement.acknowledges("f", 1)
    assert not acknowledgement.acknowledges("f", 2)


def test_a_device_on_its_own_is_named_without_a_database(agent: Agent) -> None:
    """And the list is in the order of what matters."""
    agent.tick(sick(), stopped())
    lines = agent.run("alerts").stdout.splitlines()[::2]
    assert [line.split("  ")[:4] for line in lines] == [
        ["FIRING", "critical", "RocksdbWriteStopped", "orders"],
        ["FIRING", "warning", "SsdWriteBandwidthDegraded", "sda"],
    ]
