"""``smaxd notify-test`` and the part of ``smaxd check-config`` that looks at receivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.command_line import Call
from tests.unit.http_receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def config(tmp_path: Path, *, alertmanager: Receiver, webhook: Receiver) -> str:
    file = tmp_path / "smaxd.yaml"
    file.write_text(
        f"""
alerting:
  delivery:
    alertmanagers: [{{url: '{alertmanager.url}', name: am}}]
    webhooks: [{{url: '{webhook.url}', name: chat}}]
"""
    )
    return str(file)


def test_every_channel_is_tried_and_each_says_how_it_went(
    smaxd: Call, tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """Whatever the mode; what arrives is marked as a test."""
    other.status = 500
    ended = smaxd("notify-test", "--config", config(tmp_path, alertmanager=receiver, webhook=other))

    assert ended.code == 1
    assert ended.out.splitlines() == [
        "am: delivered: answered 200 OK",
        "chat: failed: answered 500 Internal Server Error: ok",
    ]
    assert receiver.requests[0].json[0]["labels"]["alertname"] == "SmaxdNotificationTest"
    assert other.requests[0].json["alerts"][0]["labels"]["test"] == "true"


def test_one_channel_can_be_tried_alone(
    smaxd: Call, tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """The others hear nothing."""
    file = config(tmp_path, alertmanager=other, webhook=receiver)
    ended = smaxd("notify-test", "--config", file, "--channel", "chat")

    assert (ended.code, ended.out) == (0, "chat: delivered: answered 200 OK\n")
    assert other.requests == []


def test_two_tests_are_two_notifications(
    smaxd: Call, tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """A receiver that leaves out repetitions must not leave out the second test."""
    file = config(tmp_path, alertmanager=other, webhook=receiver)
    for _ in range(2):
        smaxd("notify-test", "--config", file, "--channel", "chat")

    first, second = (one.headers["webhook-id"] for one in receiver.requests)
    assert first != second


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        ("", [], "names no receiver"),
        ("alerting: {delivery: {webhooks: [{url: 'http://a'}]}}", ["--channel", "b"], "known: a"),
        ("alerting: {delivery: {webhooks: [{url: 'a'}]}}", [], "must be http://HOST"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    smaxd: Call, tmp_path: Path, text: str, words: list[str], problem: str
) -> None:
    """Nothing is sent."""
    (tmp_path / "smaxd.yaml").write_text(text)
    ended = smaxd("notify-test", "--config", str(tmp_path / "smaxd.yaml"), *words)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("smaxd: ")
    assert problem in ended.err


def test_check_config_names_secret_files_that_cannot_be_read(smaxd: Call, tmp_path: Path) -> None:
    """Before the first alert needs them."""
    file = tmp_path / "smaxd.yaml"
    file.write_text(
        "alerting: {delivery: {webhooks: [{url: 'http://a', bearer_token_file: /nonexistent}]}}"
    )
    ended = smaxd("check-config", str(file))

    assert ended.code == 2
    assert "alerting.delivery.webhooks[0].bearer_token_file: /nonexistent" in ended.err


def test_check_config_leaves_the_files_alone_where_only_the_syntax_is_asked_for(
    smaxd: Call, tmp_path: Path
) -> None:
    """A unit's ExecReload= may not see the service's credentials."""
    file = tmp_path / "smaxd.yaml"
    file.write_text(
        "web: {config_file: /nonexistent/web.yml}\n"
        "otlp: {endpoint: 'http://collector:4318', headers_file: /nonexistent/headers}\n"
        "alerting: {delivery: {webhooks: [{url: 'http://a/', secret_file: /nonexistent/key}]}}\n"
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text("tick_seconds: never\n")

    assert smaxd("check-config", str(file)).code == 2
    assert smaxd("check-config", "--syntax-only", str(file)).out == f"{file}: ok\n"
    assert smaxd("check-config", "--syntax-only", str(broken)).code == 2


def test_check_config_says_which_credentials_it_could_not_look_at(
    smaxd: Call, tmp_path: Path
) -> None:
    """They are the service's; outside of it the file itself is all right."""
    file = tmp_path / "smaxd.yaml"
    file.write_text("alerting: {delivery: {webhooks: [{url: 'http://a', secret_file: key}]}}")
    ended = smaxd("check-config", str(file))

    assert (ended.code, ended.out) == (0, f"{file}: ok\n")
    assert ended.err == f"{file}: not checked: key, a credential of the service\n"
