"""``smaxd notify-test``: one marked notification through every channel, and what came of each."""

import secrets
import socket
import time
from collections.abc import Mapping

import click

from agent.alerts.notice import AlertNotice, Notification
from agent.config import ConfigError, load_config, split_listen_address
from agent.delivery.senders import AlertmanagerSender, SenderTools, sender_for
from agent.delivery.settings import channel_name, receivers
from agent.delivery.wire import instance_of
from probes.command import ProcessGroupRunner


def notify_test(config_path: str, channel: str | None, environ: Mapping[str, str]) -> int:
    """Send through every channel, or the one named; 0 when all took it, 1 when one did not, 2 for
    bad input. The mode does not matter: one may test before switching it on."""
    try:
        config = load_config(config_path)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"smaxd: {problem}", err=True)
        return 2
    settings = config.alerting.delivery
    channels = {channel_name(receiver): receiver for _, receiver in receivers(settings)}
    if not channels:
        return _fail(f"{config_path} names no receiver below alerting.delivery")
    if channel is not None and channel not in channels:
        return _fail(f"no channel {channel!r}; known: {', '.join(channels)}")
    host, port = split_listen_address(config.web.listen_address)
    instance = instance_of(host, port, socket.gethostname())
    tools = SenderTools(environ, instance, ProcessGroupRunner())
    wall_seconds = time.time()
    alert = _alert(wall_seconds)
    code = 0
    for name, receiver in channels.items():
        if channel not in {None, name}:
            continue
        sender = sender_for(receiver, settings, tools)
        if isinstance(sender, AlertmanagerSender):
            answer = sender.send((alert,), wall_seconds)
        else:
            identity = f"test-{secrets.token_hex(8)}"
            test = Notification(identity, "firing", "test", (alert,), wall_seconds)
            answer = sender.send(test, wall_seconds)
        click.echo(f"{name}: {answer.outcome}: {answer.detail}")
        code = code if answer.outcome == "delivered" else 1
    return code


def _alert(wall_seconds: float) -> AlertNotice:
    return AlertNotice(
        fingerprint="smaxd-notification-test",
        labels={"alertname": "SmaxdNotificationTest", "severity": "info", "test": "true"},
        annotations={
            "summary": "A test of smaxd's alert delivery: nothing is wrong",
            "description": "Sent by 'smaxd notify-test'. It ends by itself.",
        },
        starts_wall_seconds=wall_seconds,
        ends_wall_seconds=None,
    )


def _fail(message: str) -> int:
    click.echo(f"smaxd: {message}", err=True)
    return 2
