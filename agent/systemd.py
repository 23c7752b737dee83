"""Talks to the service manager that started the daemon: sd_notify(3) over its datagram socket."""

import faulthandler
import os
import socket
from collections.abc import Mapping
from dataclasses import replace

from agent.loop import Logger, Published
from agent.metrics import STALLED_GRACE_SECONDS, is_stalled
from agent.service_notices import Seen, Told, next_notice, reload_notice, start_notice

PROBE_TIMEOUTS_IN_A_TICK = 3.0
"""A tick waits for probes that hang in up to three turns (``HostWatch.collect``): a slow one is not
a loop that hangs."""

SEND_SECONDS = 1.0
"""How long a manager may leave its socket full; what could not be sent is sent at the next look."""


class ServiceManager:
    """systemd, or nobody: then nothing is sent. To be used by one thread."""

    def __init__(self, environ: Mapping[str, str], log: Logger) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog_seconds(environ)
        self._log = log
        self._told = Told()
        self._unreachable = False
        if self._address and self._watchdog_seconds is not None:
            # The watchdog kills with SIGABRT: this has it show where each thread hangs.
            faulthandler.enable()

    def starting(self, probe_timeout_seconds: float) -> None:
        """Tell that the first tick may take longer than the unit allows for."""
        self._send(start_notice(_longest_tick(probe_timeout_seconds) + STALLED_GRACE_SECONDS))

    def look(
        self, published: Published, now: float, *, serving: bool, probe_timeout_seconds: float
    ) -> None:
        """Tell what is due at ``now`` (monotonic seconds); to be called every second or so."""
        if not self._address:
            return
        snapshot = published.get()
        ticking = snapshot is not None and not is_stalled(
            snapshot, now - _longest_tick(probe_timeout_seconds)
        )
        seen = Seen(now, snapshot, published.config_load, serving, ticking)
        lines, told = next_notice(self._told, seen, self._watchdog_seconds)
        if not lines or self._send(lines):
            self._told = told

    def reloading(self, published: Published, now: float) -> None:
        """Tell that the configuration will be read anew; ``look`` tells when it was."""
        # Before it is ready, "ready again" after a reload would be taken for the first one.
        if self._told.ready and self._send(reload_notice(now)):
            self._told = replace(self._told, reloading=published.config_load)

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._send(("STOPPING=1", "STATUS=stopping"))

    def _send(self, lines: tuple[str, ...]) -> bool:
        if not self._address:
            return True
        try:
            _send_datagram(self._address, "\n".join(lines))
        except OSError as error:
            if not self._unreachable:
                self._log.warning(
                    "service_manager_unreachable", socket=self._address, reason=str(error)
                )
            self._unreachable = True
            return False
        self._unreachable = False
        return True


def _send_datagram(address: str, text: str) -> None:
    """Raises OSError. An "@" in front stands for the null byte of an abstract address."""
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(SEND_SECONDS)
        connection.sendto(text.encode("utf-8", "replace"), address)


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """The watchdog's period, None where none is to be fed, or not by this process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds)):
        return None
    return int(microseconds) / 1e6


def _longest_tick(probe_timeout_seconds: float) -> float:
    """How long collecting may take at worst."""
    return PROBE_TIMEOUTS_IN_A_TICK * probe_timeout_seconds
