"""``smaxd whatif``: from a daemon or a saved file, with the real models and the exits of the
contract."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.explain.explain import explain
from agent.explain.explanation import ExplainDocument, encode
from tests.unit import explained, snapshots
from tests.unit.command_line import NOWHERE, Call
from tests.unit.snapshots import AT, WALL


@pytest.fixture
def url() -> Iterator[str]:
    """Where a listener shows the explained database, as a daemon would."""
    with explained.listening() as url:
        yield url


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """What ``smaxd explain --json --db orders`` wrote earlier."""
    file = tmp_path / "explain.json"
    document = ExplainDocument(
        "1.2.3", WALL, 0.0, (explain(explained.database(), explained.device(), AT),)
    )
    file.write_bytes(encode(document))
    return str(file)


def test_the_daemon_s_inputs_are_changed(smaxd: Call, url: str) -> None:
    """A device of four times the rate makes more puts, and the JSON has both sides."""
    ended = smaxd("whatif", "--url", url, "--db", "orders", "--device-mbps", "400", "--json")
    answer = json.loads(ended.out)

    assert (ended.code, ended.err) == (0, "")
    assert answer["database"] == "orders"
    assert [row["model"] for row in answer["models"]] == ["bottleneck", "simulator"]
    assert all(row["ratio"] > 2.0 for row in answer["models"])
    assert answer["models"][0]["before"] == pytest.approx(explained.CALIBRATED.puts_per_second)


def test_a_saved_explanation_needs_no_daemon(smaxd: Call, saved: str) -> None:
    """The same answer from the file."""
    ended = smaxd("whatif", "--inputs", saved, "--url", NOWHERE, "--value-size", "4096")

    assert (ended.code, ended.err) == (0, "")
    assert "record: 1,040 B -> 4,112 B" in ended.out


def test_what_explain_prints_is_what_whatif_reads(
    smaxd: Call,
    url: str,
    tmp_path: Path,
) -> None:
    """Indented and all."""
    file = tmp_path / "saved.json"
    file.write_text(smaxd("explain", "--url", url, "--json").out)
    ended = smaxd("whatif", "--inputs", str(file), "--db", "orders", "--wal", "off")

    assert (ended.code, ended.err) == (0, "")
    assert "WAL: on -> off" in ended.out


def test_a_load_is_answered_with_margin_and_disk(smaxd: Call, saved: str) -> None:
    """The operator's question."""
    ended = smaxd("whatif", "--inputs", saved, "--put-rate", "+2000", "--duration", "4h", "--json")
    load = json.loads(ended.out)["load"]

    assert load["fit"]["put_rate"] == 8120.0
    assert load["duration_seconds"] == 14_400.0
    assert len(load["disk"]) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "nothing is to change: give an option, or --put-rate"),
        (["--duration", "4h"], "--duration says for how long --put-rate is to hold: give both"),
        (["--put-rate", "fast"], "--put-rate is 'fast'; write +20000"),
        (["--put-rate", "+1", "--duration", "soon"], "--duration is 'soon'; write 90s"),
        (["--put-rate", "-999999"], "--put-rate -999999 makes -993,879 puts/s"),
        (["--device-mbps", "0"], "--device-mbps is 0; it must be 0.1 to"),
        (["--device-mbps", "nan"], "--device-mbps is nan; it must be 0.1 to"),
        (["--device-mbps", "fast"], "Invalid value for '--device-mbps'"),
        (["--compression", "brotli"], "--compression is 'brotli'; it must be one of none, lz4"),
        (["--foreign-mb", "5000"], "others' 5,000 MiB/s leave nothing of the device's"),
        (["--compaction-style", "fifo"], "Invalid value for '--compaction-style'"),
        (["--max-background-jobs", "2.5"], "Invalid value for '--max-background-jobs'"),
        (["--nonsense"], "No such option"),
        (["--wal", "off", "--db", "nope"], "no database 'nope' in"),
    ],
)
def test_a_bad_value_is_one_clear_line_and_exit_2(
    smaxd: Call,
    saved: str,
    words: list[str],
    line: str,
) -> None:
    """Nothing is on standard output."""
    ended = smaxd("whatif", "--inputs", saved, *words)

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("smaxd: ")
    assert line in ended.err


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"databases":[{}]}']
)
def test_a_file_that_is_no_explanation_is_refused(
    smaxd: Call,
    tmp_path: Path,
    content: bytes,
) -> None:
    """Exit 2: it was the wrong file."""
    file = tmp_path / "x.json"
    file.write_bytes(content)
    ended = smaxd("whatif", "--inputs", str(file), "--wal", "off")

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "is not what 'smaxd explain --json' writes" in ended.err


@pytest.mark.parametrize("path", ["/nonexistent", "/"])
def test_a_file_that_cannot_be_read_is_named(smaxd: Call, path: str) -> None:
    """Exit 2 and one line."""
    ended = smaxd("whatif", "--inputs", path, "--wal", "off")

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "cannot read" in ended.err


def test_several_databases_ask_for_a_choice(smaxd: Call, url: str) -> None:
    """The names are given."""
    ended = smaxd("whatif", "--url", url, "--wal", "off")

    assert ended.code == 2
    assert "choose one with --db: orders, /srv/idle" in ended.err


def test_a_database_without_inputs_ends_with_1_and_the_reason(
    smaxd: Call,
    tmp_path: Path,
) -> None:
    """Nothing is wrong with what was typed."""
    file = tmp_path / "lost.json"
    document = ExplainDocument("1", WALL, 0.0, (explain(snapshots.lost_database(), None, AT),))
    file.write_bytes(encode(document))
    ended = smaxd("whatif", "--inputs", str(file), "--wal", "off")

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "no model inputs of /srv/idle are known" in ended.err


def test_no_daemon_ends_with_1_and_one_line(smaxd: Call) -> None:
    """As for every command that asks it."""
    ended = smaxd("whatif", "--url", NOWHERE, "--wal", "off")

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("command", ["explain", "whatif"])
def test_help_is_no_error(smaxd: Call, command: str) -> None:
    """And MB are said to be MiB."""
    ended = smaxd(command, "--help")

    assert (ended.code, ended.err) == (0, "")
    if command == "whatif":
        assert "All MB are MiB" in ended.out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"device_write_bytes_per_second":98000000.0', '"device_write_bytes_per_second":0.0'),
        ('"level_files":[3,4,32,0,0,0,0]', '"level_files":[3]'),
    ],
)
def test_a_file_with_figures_that_cannot_be_is_one_sentence(
    smaxd: Call,
    saved: str,
    before: str,
    after: str,
) -> None:
    """No traceback."""
    text = Path(saved).read_text()
    assert before in text
    Path(saved).write_text(text.replace(before, after))
    ended = smaxd("whatif", "--inputs", saved, "--max-background-jobs", "6", "--put-rate", "+1")

    assert ended.code in {1, 2}
    assert ended.err.startswith("smaxd: ")
    assert "Traceback" not in ended.err
