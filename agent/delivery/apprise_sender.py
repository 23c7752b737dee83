"""Delivery through apprise, in a child process: it is large, it may hang, and it knows the secret.

The address goes to the child by the name of its file, the text through the environment, which
only this user can read.
"""

import os
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from agent.alerts.notice import Notification
from agent.delivery.answer import Answer
from agent.delivery.secret_files import SecretUnreadable, resolve
from agent.delivery.settings import AppriseSettings
from agent.delivery.wire import Origin, severity, text, title
from probes.command import CommandRunner
from probes.errors import ProbeError

TIMEOUT_SECONDS: Final = 30.0
"""Its start takes a second or two, a mail server's greeting as long."""

VARIABLE: Final = "SMAXD_APPRISE"

MAX_TEXT_CHARACTERS: Final = 16 * 1024
"""A variable of the environment may have 128 KiB, and no receiver of text shows more."""

PASSED_ON: Final = (
    *("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
"""Nothing else of the environment is the child's business."""

_CHILD: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apprise_child.py")
_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(_CHILD)))


class AppriseSender:
    """One address. One thread sends; any may ``abort``."""

    def __init__(
        self,
        settings: AppriseSettings,
        origin: Origin,
        runner: CommandRunner,
        environ: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._origin = origin
        self._runner = runner
        self._environ = environ
        self._aborted = False

    def send(self, notification: Notification, wall_seconds: float) -> Answer:
        """Start the child, and wait for its word."""
        del wall_seconds
        try:
            url_file = resolve(self._settings.url_file, self._environ)
        except SecretUnreadable as error:
            return Answer("failed", str(error))
        message = {
            "url_file": url_file,
            "title": title(notification, self._origin),
            "body": text(notification, self._origin)[:MAX_TEXT_CHARACTERS],
            "type": severity(notification),
        }
        env = {name: self._environ[name] for name in PASSED_ON if name in self._environ}
        env[VARIABLE] = msgspec.json.encode(message).decode()
        argv = (sys.executable, "-P", "-B", _CHILD, str(os.getpid()), _ROOT)
        try:
            ended = self._runner.run(
                argv, timeout_seconds=TIMEOUT_SECONDS, cwd="/", env=env, guard=self._end_at_once
            )
        except ProbeError as error:
            return Answer("failed", f"apprise: {error.detail}")
        if ended.returncode == 0:
            return Answer("delivered", "apprise has sent it")
        told = " ".join(ended.stdout.decode("utf-8", "replace").split())[:300]
        return Answer("failed", f"apprise: {told or f'ended with {ended.returncode}'}")

    def abort(self) -> None:
        """End the child, and every later one, at once."""
        self._aborted = True

    def _end_at_once(self) -> str | None:
        return "the channel is closed" if self._aborted else None
