"""The receivers, each with one call that says what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.alerts.notice import AlertNotice, Notification
from agent.delivery.answer import Answer
from agent.delivery.apprise_sender import AppriseSender
from agent.delivery.http_post import HttpPost, Target
from agent.delivery.secret_files import SecretUnreadable, read_secret
from agent.delivery.settings import (
    AlertmanagerSettings,
    AppriseSettings,
    DeliverySettings,
    Receiver,
    WebhookSettings,
    channel_name,
)
from agent.delivery.wire import (
    Origin,
    alertmanager_body,
    origin_of,
    signing_key,
    webhook_body,
    webhook_headers,
)
from probes.command import CommandRunner


@dataclass(frozen=True, slots=True)
class SenderTools:
    """What senders stand on. ``instance`` is HOST:PORT by which a scraper knows this agent."""

    environ: Mapping[str, str]
    instance: str
    runner: CommandRunner


def sender_for(
    receiver: Receiver, settings: DeliverySettings, tools: SenderTools
) -> "AlertmanagerSender | WebhookSender | AppriseSender":
    """The one for a receiver."""
    origin = origin_of(settings, tools.instance)
    timeout, environ = settings.timeout_seconds, tools.environ
    if isinstance(receiver, AlertmanagerSettings):
        return AlertmanagerSender(receiver, origin, timeout, environ)
    if isinstance(receiver, AppriseSettings):
        return AppriseSender(receiver, origin, tools.runner, environ)
    return WebhookSender(receiver, channel_name(receiver), origin, timeout, environ)


class AlertmanagerSender:
    """``POST /api/v2/alerts`` to one replica."""

    def __init__(
        self,
        settings: AlertmanagerSettings,
        origin: Origin,
        timeout_seconds: float,
        environ: Mapping[str, str],
    ) -> None:
        target = Target(
            url=settings.url,
            url_file=None,
            path="/api/v2/alerts",
            basic_auth=settings.basic_auth,
            bearer_token_file=settings.bearer_token_file,
            tls=settings.tls,
        )
        self._post = HttpPost(target, timeout_seconds, environ)
        self._origin = origin

    def send(self, active: tuple[AlertNotice, ...], wall_seconds: float) -> Answer:
        """Send all alerts as they stand."""
        body = alertmanager_body(active, self._origin, wall_seconds)
        return self._post.post(body, {}, wall_seconds)

    def abort(self) -> None:
        """End what is under way."""
        self._post.abort()


class WebhookSender:
    """A POST of JSON, signed where there is a secret."""

    def __init__(
        self,
        settings: WebhookSettings,
        channel: str,
        origin: Origin,
        timeout_seconds: float,
        environ: Mapping[str, str],
    ) -> None:
        target = Target(
            url=settings.url,
            url_file=settings.url_file,
            path="",
            basic_auth=settings.basic_auth,
            bearer_token_file=settings.bearer_token_file,
            tls=settings.tls,
        )
        self._post = HttpPost(target, timeout_seconds, environ)
        self._secret_file = settings.secret_file
        self._channel = channel
        self._origin = origin
        self._environ = environ

    def send(self, notification: Notification, wall_seconds: float) -> Answer:
        """Send it; the same notification has the same ``webhook-id`` each time."""
        try:
            key = self._key()
        except SecretUnreadable as error:
            return Answer("failed", str(error))
        body = webhook_body(notification, self._channel, self._origin)
        headers = webhook_headers(notification.identity, body, key, wall_seconds)
        return self._post.post(body, headers, wall_seconds)

    def abort(self) -> None:
        """End what is under way."""
        self._post.abort()

    def _key(self) -> bytes | None:
        if self._secret_file is None:
            return None
        try:
            return signing_key(read_secret(self._secret_file, self._environ))
        except ValueError as error:
            raise SecretUnreadable(f"{self._secret_file}: {error}") from None
