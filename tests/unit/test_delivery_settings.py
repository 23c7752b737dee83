"""What an operator may write below alerting.delivery, and what each mistake is called."""

from pathlib import Path

import pytest

from agent.config import ConfigError, parse_config
from agent.delivery.receiver_files import file_problems, unchecked_files
from agent.delivery.settings import (
    AlertmanagerSettings,
    DeliverySettings,
    TlsSettings,
    WebhookSettings,
    channel_name,
)
from agent.delivery.wire import instance_of, origin_of


def parsed(text: str) -> DeliverySettings:
    lines = "\n".join(f"    {line}" for line in text.splitlines())
    return parse_config(f"alerting:\n  delivery:\n{lines}\n".encode()).alerting.delivery


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parsed(text)
    return error.value.problems


GOOD = """
mode: fallback
external_labels: {instance: "db1:10390", cluster: west}
alertmanagers:
  - url: https://am-1:9093/
    basic_auth: {username: smaxd, password_file: am-password}
    tls: {ca_file: /etc/ssl/ca.pem}
  - url: https://am-2:9093/
webhooks:
  - {name: chat, url_file: chat-url, secret_file: chat-secret}
apprise:
  - {name: mail, url_file: mail-url}
"""


def test_a_whole_configuration_is_understood() -> None:
    """Every kind of receiver, with defaults for what is left out."""
    settings = parsed(GOOD)

    assert settings.mode == "fallback"
    assert settings.external_labels == {"instance": "db1:10390", "cluster": "west"}
    assert [channel_name(one) for one in settings.alertmanagers] == ["am-1:9093", "am-2:9093"]
    assert settings.alertmanagers[0].tls == TlsSettings(ca_file="/etc/ssl/ca.pem")
    assert (settings.webhooks[0].name, settings.apprise[0].name) == ("chat", "mail")


def test_off_is_a_word_and_no_truth_value() -> None:
    """YAML 1.1 reads it as false."""
    assert parsed("mode: off").mode == "off"
    assert parsed("mode: 'off'").mode == "off"
    assert problems_of("mode: on") == [
        "alerting.delivery.mode: must be one of off, fallback, always, is True"
    ]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("am:9093", "must be http://HOST"),
        ("ftp://am", "must be http://HOST"),
        ("https://", "must be http://HOST"),
        ("https://user:hunter2@am", "use basic_auth"),
        ("http://am:99999", "is not a URL"),
        ("http://am:0", "port 0"),
        ("http://am/#x", "fragment"),
        ("http://am/a b", "spaces"),
        ("http://[::1", "is not a URL"),
    ],
)
def test_a_bad_url_is_called_so_and_not_shown(url: str, problem: str) -> None:
    """Its parts may be secret."""
    (found,) = problems_of(f"alertmanagers: [{{url: '{url}'}}]")

    assert found.startswith("alerting.delivery.alertmanagers[0].url: ")
    assert problem in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mode: always", "there is no receiver"),
        ("webhooks: [{name: x}]", "needs either url or url_file"),
        ("webhooks: [{url: 'http://a', url_file: b, name: x}]", "needs either url or url_file"),
        ("webhooks: [{url_file: b}]", "name: is required beside url_file"),
        ("webhooks: [{url: 'http://a', name: 'a b'}]", "may have letters"),
        ("webhooks: [{url: 'http://a'}, {url: 'http://a/b'}]", "two receivers are called 'a'"),
        (
            "webhooks: [{url: 'http://a', bearer_token_file: t, "
            "basic_auth: {username: u, password_file: p}}]",
            "exclude each other",
        ),
        ("webhooks: [{url: 'https://a', tls: {key_file: k}}]", "needs cert_file"),
        ("external_labels: {alertname: x}", "are set already"),
        ("external_labels: {'a-b': x}", "letters, digits and _"),
        ("external_labels: [a]", "must be a mapping"),
        ("generator_url: db1", "must be http://HOST"),
        ("fallback: {absent_intervals: 1}", "must be from 2 to 1000"),
        ("queue_length: 1.5", "must be a whole number"),
        ("alertmanagers: [{}]", "alertmanagers[0].url: is required"),
    ],
)
def test_a_mistake_is_named_with_its_key(text: str, problem: str) -> None:
    """One sentence, which begins with where it is."""
    found = problems_of(text)

    assert len(found) == 1
    assert found[0].startswith("alerting.delivery")
    assert problem in found[0]


def test_too_many_receivers_are_refused() -> None:
    """Each has a thread."""
    entries = ", ".join(f"{{url: 'http://h{number}'}}" for number in range(17))

    assert problems_of(f"webhooks: [{entries}]") == [
        "alerting.delivery: 17 receivers are more than 16"
    ]


def test_files_are_looked_at_before_they_are_needed(tmp_path: Path) -> None:
    """Each with its key and its reason; what may not be shown is not."""
    (tmp_path / "weak").write_text("hunter2")
    (tmp_path / "url").write_text("hunter2://x")
    settings = DeliverySettings(
        webhooks=(
            WebhookSettings("http://a", secret_file=str(tmp_path / "weak")),
            WebhookSettings(url_file=str(tmp_path / "url"), name="b"),
            WebhookSettings("https://c", tls=TlsSettings(ca_file=str(tmp_path / "url"))),
        ),
        alertmanagers=(AlertmanagerSettings("http://d", bearer_token_file=str(tmp_path / "no")),),
    )

    found = file_problems(settings, {})

    assert [one.partition(": ")[0] for one in found] == [
        "alerting.delivery.alertmanagers[0].bearer_token_file",
        "alerting.delivery.webhooks[0].secret_file",
        "alerting.delivery.webhooks[1].url_file",
        "alerting.delivery.webhooks[2].tls",
    ]
    assert "hunter2" not in str(found)


def test_the_services_credentials_are_looked_at_only_inside_the_service(tmp_path: Path) -> None:
    """An operator's shell does not see them, which is no mistake in the file."""
    hook = WebhookSettings("http://a", bearer_token_file="token")  # noqa: S106 - a path
    settings = DeliverySettings(webhooks=(hook,))

    assert file_problems(settings, {}) == []
    assert unchecked_files(settings, {}) == ["token"]
    inside = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "No such file" in file_problems(settings, inside)[0]
    assert unchecked_files(settings, inside) == []


@pytest.mark.parametrize(
    ("host", "instance"),
    [
        ("127.0.0.1", "db1:10390"),
        ("0.0.0.0", "db1:10390"),
        ("::", "db1:10390"),
        ("10.0.0.5", "10.0.0.5:10390"),
        ("2001:db8::5", "[2001:db8::5]:10390"),
    ],
)
def test_the_instance_is_what_a_scraper_on_another_host_calls_it(host: str, instance: str) -> None:
    """The host's name where the listener's address says nothing to others."""
    assert instance_of(host, 10390, "db1") == instance


def test_external_labels_win_over_the_defaults() -> None:
    """Alertmanager's inhibition knows the agent's copy by its source."""
    settings = DeliverySettings(external_labels={"job": "rocksdb", "cluster": "west"})

    origin = origin_of(settings, "db1:10390")

    assert origin.labels == {
        "job": "rocksdb",
        "instance": "db1:10390",
        "cluster": "west",
        "source": "smaxd",
    }
    assert origin.url == "http://db1:10390/"
