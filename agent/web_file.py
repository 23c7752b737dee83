"""The web configuration in force: read at the start, and again whenever a file of it changes.

``look`` is called about once a second by the listener. A change counts once it has settled, that
is, looks the same twice: a certificate and its key are two files, and an editor may write in
several steps. What then cannot be used leaves the old configuration in force; the log and a gauge
say so. exporter-toolkit would refuse every request instead: a slip of the pen would blind the
monitoring at the moment of a change.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from typing import Final

import structlog

from agent.config import ConfigError
from agent.web_config import WebConfig, lost_protection, parse_web_config
from agent.web_metrics import WebStatus
from agent.web_tls import TlsContext, read_pem
from agent.web_tls_settings import Pem
from agent.web_values import WebConfigError
from probes.clock import Clock

Logger = structlog.typing.FilteringBoundLogger
Signature = tuple[int, ...] | None | tuple["Signature", ...]

REASONS: Final = ("handshake", "password", "too_many_checks", "rate")
"""Why a connection or a request is refused: the TLS handshake failed, user or password are wrong or
missing, too many passwords wait to be checked, more requests than rate_limit allows."""


EXPIRY_WARNING_SECONDS: Final = 7 * 86400.0
"""From so long before the end of the certificate's validity the log warns, once a certificate."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used."""

    config: WebConfig
    tls: TlsContext | None
    digest: bytes
    """Of all that was read."""


class Reading:
    """One reading of a file and of what it names."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self.files: tuple[str, ...] = (path,)
        """All that is needed, as far as it is known: also of a reading that fails, since a
        certificate may come after the file that names it."""

    def load(self) -> Loaded:
        """ConfigError."""
        try:
            raw = self._read(Pem("web.config_file", self._path))
        except WebConfigError as error:
            raise ConfigError(error.problems) from error
        try:
            config = parse_web_config(raw, os.path.dirname(os.path.abspath(self._path)))
            self.files = (self._path, *_named_files(config))
            tls = None if config.tls is None else TlsContext(config.tls, self._read)
        except WebConfigError as error:
            raise _config_error(self._path, error.problems) from error
        return Loaded(config, tls, self._digest.digest())

    def _read(self, pem: Pem) -> bytes:
        raw = read_pem(pem)
        self._digest.update(len(raw).to_bytes(8, "big") + raw)
        return raw


def web_config_problems(path: str | None) -> list[str]:
    """What keeps the file, and what it names, from being used; None: there is none."""
    try:
        if path is not None:
            Reading(path).load()
    except ConfigError as error:
        return error.problems
    return []


def _config_error(path: str, problems: list[str]) -> ConfigError:
    return ConfigError([f"web.config_file: {path}: {problem}" for problem in problems])


def _named_files(config: WebConfig) -> list[str]:
    tls = config.tls
    pems = () if tls is None else (tls.certificate, tls.private_key, tls.client_ca)
    return [pem.path for pem in pems if pem is not None and pem.path is not None]


class WebFile:
    """The configuration in force. ``look`` belongs to one thread."""

    def __init__(self, path: str, log: Logger, clock: Clock) -> None:
        """Read it for the first time; ConfigError."""
        self._path = path
        self._log = log
        self.clock = clock
        reading = Reading(path)
        self._in_force = reading.load()
        self._files = reading.files
        """Those of the last reading, whether it succeeded or not."""
        self._problems_told: list[str] = []
        self._expiry_told: tuple[str, float] | None = None
        self._seen: Signature | None = None
        self._settled: Signature | None = None
        self._successful = True
        self._success_wall_seconds = clock.wall()
        self.refused: Counter[str] = Counter()
        """Connections and requests that were not answered as asked, by reason."""
        self._tell_expiry()

    @property
    def config(self) -> WebConfig:
        """What requests are held to."""
        return self._in_force.config

    @property
    def tls(self) -> TlsContext | None:
        """What new connections are encrypted with; None: they are not."""
        return self._in_force.tls

    def handshake_failed(self) -> None:
        """Count one."""
        self.refused["handshake"] += 1

    def look(self) -> None:
        """Read the files again if they have changed and settled; raises nothing."""
        self._tell_expiry()
        now = tuple(_signature(path) for path in self._files)
        if now != self._seen:
            self._seen = now
        elif now != self._settled:
            self._settled = now
            self._reload()

    def _reload(self) -> None:
        reading = Reading(self._path)
        try:
            loaded = reading.load()
            lost = lost_protection(self.config, loaded.config)
            if lost:
                raise _config_error(self._path, lost)
        except ConfigError as error:
            self._successful = False
            if error.problems != self._problems_told:
                self._problems_told = error.problems
                for problem in error.problems:
                    self._log.error("web_config_invalid", problem=problem)
                self._log.error("web_config_not_reloaded", file=self._path)
            return
        except Exception:  # a defect must not end the listener, and is no success either
            self._successful = False
            self._log.exception("web_config_not_reloaded", file=self._path)
            return
        finally:
            self._files = reading.files
        changed = loaded.digest != self._in_force.digest
        if changed or not self._successful:
            self._log.info("web_config_reloaded", file=self._path)
        if changed:
            self._in_force = loaded
            self._tell_expiry()
        self._successful, self._problems_told = True, []
        self._success_wall_seconds = self.clock.wall()

    def _tell_expiry(self) -> None:
        if self.tls is None:
            return
        left = self.tls.expires_at - self.clock.wall()
        if left >= EXPIRY_WARNING_SECONDS:
            return
        event = "certificate_expired" if left < 0.0 else "certificate_expires_soon"
        if (event, self.tls.expires_at) != self._expiry_told:
            self._expiry_told = event, self.tls.expires_at
            self._log.warning(event, file=self._path, days=round(left / 86400.0, 1))

    def status(self) -> WebStatus:
        """For the metrics; from any thread."""
        return WebStatus(
            successful=self._successful,
            success_wall_seconds=self._success_wall_seconds,
            refused={reason: self.refused[reason] for reason in REASONS},
            certificate_expiry_wall_seconds=None if self.tls is None else self.tls.expires_at,
        )


def _signature(path: str) -> Signature:
    """Changes whenever the file's content does; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
