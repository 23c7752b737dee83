"""Delivery through the real apprise, in its child process, to a real receiver."""

import importlib.util
import os
import sys
import threading
from pathlib import Path

import pytest

from agent.delivery.apprise_sender import AppriseSender
from agent.delivery.secret_files import masked
from agent.delivery.settings import AppriseSettings
from agent.delivery.wire import Origin, severity, text, title
from probes.command import ProcessGroupRunner
from tests.unit.delivery_samples import WALL, alert, notification
from tests.unit.http_receiver import Receiver, eventually, receiving

needs_apprise = pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="apprise is not installed"
)
ORIGIN = Origin({"job": "smaxd", "instance": "db1:10390"}, "http://db1:10390/")


def sender(tmp_path: Path, url: str, runner: ProcessGroupRunner | None = None) -> AppriseSender:
    (tmp_path / "url").write_text(url + "\n")
    settings = AppriseSettings("mail", str(tmp_path / "url"))
    return AppriseSender(settings, ORIGIN, runner or ProcessGroupRunner(), os.environ)


def address(receiver: Receiver) -> str:
    """What apprise calls a receiver of JSON; the password is what must stay secret."""
    return receiver.url.replace("http://", "json://agent:s3cr3t-word@") + "/hook"


@needs_apprise
def test_a_notification_arrives_with_title_text_and_severity(tmp_path: Path) -> None:
    """The child sends it; the text names the alert, its labels and its runbook."""
    with receiving() as receiver:
        answer = sender(tmp_path, address(receiver)).send(notification(), WALL)

    assert answer.outcome == "delivered"
    (request,) = receiver.requests
    document = request.json
    assert document["title"] == "[FIRING:1] RocksdbWriteStopped on db1:10390"
    assert document["type"] == "failure"
    assert "RocksDB has stopped writes to orders" in document["message"]
    assert "https://example.org/runbooks/RocksdbWriteStopped.md" in document["message"]


@needs_apprise
def test_a_receiver_that_refuses_is_a_failure_that_shows_no_secret(tmp_path: Path) -> None:
    """What apprise logs may name the address; its parts are masked."""
    with receiving() as receiver:
        receiver.status = 500
        answer = sender(tmp_path, address(receiver)).send(notification(), WALL)

    assert answer.outcome == "failed"
    assert "500" in answer.detail
    assert "s3cr3t-word" not in answer.detail


@needs_apprise
def test_the_address_is_neither_in_the_childs_arguments_nor_in_its_environment(
    tmp_path: Path,
) -> None:
    """Everybody on the host can read the first, and a crash report shows the second."""
    seen: list[bytes] = []

    def look() -> None:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
                if b"apprise_child.py" in command:
                    seen.append(command + (entry / "environ").read_bytes())
            except OSError:
                continue

    with receiving() as receiver:
        receiver.before_answer = look
        sender(tmp_path, address(receiver)).send(notification(), WALL)

    assert seen
    assert not any(b"s3cr3t-word" in one for one in seen)


@needs_apprise
def test_a_child_under_way_ends_when_the_channel_does(tmp_path: Path) -> None:
    """A stop does not wait for a mail server."""
    with receiving() as receiver:
        receiver.drip_seconds = 0.05
        to_mail = sender(tmp_path, address(receiver))
        answers: list[str] = []
        thread = threading.Thread(
            target=lambda: answers.append(to_mail.send(notification(), WALL).outcome)
        )
        thread.start()
        eventually(lambda: bool(receiver.requests), "the request")
        to_mail.abort()
        thread.join(10.0)

    assert answers == ["failed"]


@needs_apprise
def test_an_address_that_apprise_does_not_know_is_named_by_its_file(tmp_path: Path) -> None:
    """Not by itself."""
    answer = sender(tmp_path, "nonsense://s3cr3t-word").send(notification(), WALL)

    assert answer.outcome == "failed"
    assert f"{tmp_path}/url" in answer.detail
    assert "s3cr3t-word" not in answer.detail


def test_without_apprise_the_answer_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra; the child is started by an interpreter that does not have it."""
    monkeypatch.setattr(sys, "executable", _bare_python(tmp_path))

    answer = sender(tmp_path, "json://127.0.0.1:1").send(notification(), WALL)

    assert answer.outcome == "failed"
    assert "install smaxd[apprise]" in answer.detail


def _bare_python(tmp_path: Path) -> str:
    """An interpreter that finds structlog and msgspec, and no apprise."""
    script = tmp_path / "python"
    blocker = tmp_path / "blocked"
    (blocker / "apprise").mkdir(parents=True)
    (blocker / "apprise" / "__init__.py").write_text("raise ImportError('not here')")
    script.write_text(f'#!/bin/sh\nPYTHONPATH={blocker} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Before anything is started, or by the child."""
    settings = AppriseSettings("mail", str(tmp_path / "missing"))
    missing = AppriseSender(settings, ORIGIN, ProcessGroupRunner(), os.environ)
    relative = AppriseSender(AppriseSettings("mail", "url"), ORIGIN, ProcessGroupRunner(), {})

    assert "No such file" in missing.send(notification(), WALL).detail
    assert "LoadCredential" in relative.send(notification(), WALL).detail


def test_what_is_long_enough_to_be_a_secret_is_masked() -> None:
    """Hosts, users, tokens; words as short as a scheme stay readable."""
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"

    shown = masked("POST to https://hooks/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ: 404", [url])

    assert shown == "POST to https://hooks/***/***/***: 404"


def test_the_title_says_what_happened() -> None:
    """On a phone it is all that is seen."""
    over = alert(ends=WALL + 5.0)
    users = alert("RocksdbWriteDelayed", db="users", severity="warning")

    assert title(notification("a", over), ORIGIN) == ("[RESOLVED] RocksdbWriteStopped on db1:10390")
    assert title(notification("a", alert(), users, kind="escalated"), ORIGIN) == (
        "[FIRING:2 ESCALATED] RocksdbWriteDelayed, RocksdbWriteStopped on db1:10390"
    )
    assert [severity(notification("a", one)) for one in (over, users, alert())] == [
        "success",
        "warning",
        "failure",
    ]


def test_the_text_has_a_paragraph_for_each_alert() -> None:
    """State and time, summary, description, labels, runbook."""
    shown = text(notification("a", alert(), alert(db="users", ends=WALL + 5.0)), ORIGIN)

    first, second = shown.split("\n\n")
    assert first.splitlines() == [
        "FIRING since 2027-01-15T08:00:00.000Z",
        "RocksDB has stopped writes to orders",
        "The condition holds.",
        "alertname=RocksdbWriteStopped, db=orders, device=nvme0n1, instance=db1:10390, job=smaxd, "
        "severity=critical",
        "https://example.org/runbooks/RocksdbWriteStopped.md",
    ]
    assert second.startswith("RESOLVED since")
