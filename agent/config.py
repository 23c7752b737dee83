"""The configuration: one YAML file, typed, with every problem reported at once.

Each setting's meaning, unit and default is documented in configs/smaxd.yaml; the two are kept
together by a test.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal, cast

import msgspec
import yaml

from agent.alerts.rules import AlertingSettings, AlertSettings
from agent.config_tree import TreeDecoder
from agent.config_yaml import load_yaml
from agent.delivery.settings import RANGES as DELIVERY_RANGES
from agent.delivery.settings import TlsSettings, url_problem
from agent.delivery.settings import problems as delivery_problems

NAME_PATTERN = re.compile(r"[A-Za-z0-9._/:@-]{1,200}")
"""What a configured database name may consist of: it becomes a metric label and a CLI argument."""

MAX_FILE_BYTES = 1024 * 1024
"""A configuration is a few kilobytes; a larger file is another file, or a device."""


LEAST_REPEAT_SECONDS = 60.0
"""Reminders that come faster than people can act are noise."""


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One database to watch."""

    path: str
    name: str | None = None
    record_size_bytes: float | None = None
    db_paths: tuple[str, ...] = ()


class WebSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP listener."""

    listen_address: str = "127.0.0.1:10390"
    config_file: str | None = None


class TextfileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page as a file for node_exporter."""

    path: str | None = None
    interval_seconds: float = 60.0


class OtlpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page pushed to an OpenTelemetry receiver."""

    endpoint: str | None = None
    interval_seconds: float = 60.0
    headers_file: str | None = None
    tls: TlsSettings = TlsSettings()


class DiscoverySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Looking for running databases."""

    enabled: bool = True
    interval_seconds: float = 60.0


class FioSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The active bandwidth probe."""

    enabled: bool = True
    mode: Literal["fast", "balanced", "accurate"] = "fast"
    interval_seconds: float = 21600.0
    size_mib: float | None = None
    runtime_seconds: float | None = None
    rate_mib_per_second: float | None = None


class SecondarySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rocksdict secondary in its child process."""

    enabled: bool = True
    interval_seconds: float = 60.0
    timeout_seconds: float = 20.0
    memory_mib: float = 1024.0
    cpu_share_ratio: float = 0.0005


class PhaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The phase's hysteresis."""

    hold_seconds: float = 300.0


class DeviceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator knows about a device, such as a cloud volume's provisioned limit."""

    name: str
    write_limit_mib_per_second: float


class HistorySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept on disk of what was."""

    enabled: bool = True
    size_limit_mib: float = 1024.0


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The agent's own log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "logfmt", "json"] = "auto"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be configured; the defaults are a working configuration."""

    tick_seconds: float = 10.0
    probe_timeout_seconds: float = 5.0
    scratch: str | None = None
    state: str | None = None
    web: WebSettings = WebSettings()
    textfile: TextfileSettings = TextfileSettings()
    otlp: OtlpSettings = OtlpSettings()
    databases: tuple[DatabaseSettings, ...] = ()
    discovery: DiscoverySettings = DiscoverySettings()
    fio: FioSettings = FioSettings()
    secondary: SecondarySettings = SecondarySettings()
    phase: PhaseSettings = PhaseSettings()
    devices: tuple[DeviceSettings, ...] = ()
    alerts: AlertSettings = AlertSettings()
    alerting: AlertingSettings = AlertingSettings()
    history: HistorySettings = HistorySettings()
    log: LogSettings = LogSettings()


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` are sentences that begin with a key path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


_RANGES: dict[str, tuple[float, float]] = {
    "tick_seconds": (0.1, 3600.0),
    "probe_timeout_seconds": (0.1, 600.0),
    "textfile.interval_seconds": (1.0, 86400.0),
    "otlp.interval_seconds": (1.0, 86400.0),
    "discovery.interval_seconds": (1.0, 86400.0),
    "databases[].record_size_bytes": (1.0, 1e9),
    "fio.interval_seconds": (10.0, 30 * 86400.0),
    "fio.size_mib": (8.0, 1048576.0),
    "fio.runtime_seconds": (0.5, 600.0),
    "fio.rate_mib_per_second": (1.0, 1e6),
    "secondary.interval_seconds": (1.0, 86400.0),
    "secondary.timeout_seconds": (1.0, 600.0),
    "secondary.memory_mib": (256.0, 1048576.0),
    "secondary.cpu_share_ratio": (0.00001, 1.0),
    "phase.hold_seconds": (0.0, 86400.0),
    "history.size_limit_mib": (16.0, 1048576.0),
    "devices[].write_limit_mib_per_second": (0.1, 1e6),
    "alerts.*.threshold": (-1e12, 1e12),
    "alerts.*.clear": (-1e12, 1e12),
    "alerts.*.for_seconds": (0.0, 30 * 86400.0),
    "alerting.group_wait_seconds": (0.0, 3600.0),
    "alerting.cooldown_seconds": (0.0, 86400.0),
    "alerting.repeat_seconds": (0.0, 30 * 86400.0),
    "alerting.escalate_after_repeats": (0, 1000),
    **DELIVERY_RANGES,
}
"""Lowest and highest allowed value of every number, by key path ([] any element, * any rule)."""


def load_config(path: str) -> Config:
    """Read and check a configuration file; ConfigError lists all problems with their key paths."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} bytes: not a configuration"])
    return parse_config(raw, path)


def parse_config(raw: bytes, origin: str = "config") -> Config:
    """Check the text of a configuration; ConfigError lists all problems with their key paths."""
    try:
        tree = load_yaml(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" line {where.line + 1}, column {where.column + 1}"
        what = getattr(error, "problem", None) or str(error).split("\n", maxsplit=1)[0]
        raise ConfigError([f"{origin}: not valid YAML:{line} {what}"]) from None
    return config_from_tree(tree)


def config_from_tree(tree: object) -> Config:
    """Check a parsed tree; None is the empty configuration."""
    decoder = TreeDecoder(_RANGES)
    config = cast(Config, decoder.decode(Config, tree, default=Config()))
    problems = decoder.problems or check(config)
    if problems:
        raise ConfigError(problems)
    return config


def config_hash(config: Config) -> str:
    """A short fingerprint of the configuration in force, the same on hosts configured alike."""
    return hashlib.sha256(repr(config).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def split_listen_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", "[IPV6]:PORT" or ":PORT" (all interfaces); else ValueError."""
    host, separator, port_text = address.rpartition(":")
    if not separator or not port_text.isascii() or not port_text.isdigit():
        raise ValueError(f"{address!r} is not HOST:PORT")
    port = int(port_text)
    if port > 65535:
        raise ValueError(f"port {port} is above 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{address!r}: an IPv6 address goes in brackets, [::1]:10390")
    return host or "0.0.0.0", port  # noqa: S104 - ":PORT" says all interfaces, as in every exporter


def check(config: Config) -> list[str]:
    """Problems that only show between settings, or in their content; sentences with key paths."""
    problems: list[str] = []
    try:
        split_listen_address(config.web.listen_address)
    except ValueError as error:
        problems.append(f"web.listen_address: {error}")
    problems += _export_problems(config)
    paths = _repeated(database.path.rstrip("/") for database in config.databases)
    labels = _repeated(database.name or database.path for database in config.databases)
    devices = _repeated(device.name for device in config.devices)
    problems += [f"databases: {path!r} is there more than once" for path in paths]
    problems += [f"databases: {name!r} is there more than once" for name in labels - paths]
    problems += [f"devices: {name!r} is there more than once" for name in devices]
    for index, database in enumerate(config.databases):
        where = f"databases[{index}]"
        for what, path in (("path", database.path), *(("db_paths", p) for p in database.db_paths)):
            if not path.startswith("/") or "\0" in path:
                problems.append(f"{where}.{what}: {path!r} is not an absolute path")
        if database.name is not None and not NAME_PATTERN.fullmatch(database.name):
            problems.append(
                f"{where}.name: {database.name!r} may have letters, digits and . _ / : @ - only"
            )
    if config.scratch is not None and not config.scratch.startswith("/"):
        problems.append(f"scratch: {config.scratch!r} is not an absolute path")
    for name in config.alerts.__struct_fields__:
        rule = getattr(config.alerts, name)
        worse_is_lower = name in AlertSettings.WORSE_IS_LOWER
        if (rule.clear < rule.threshold) if worse_is_lower else (rule.clear > rule.threshold):
            problems.append(
                f"alerts.{name}.clear: {rule.clear:g} must not be "
                f"{'below' if worse_is_lower else 'above'} the threshold {rule.threshold:g}"
            )
    if 0.0 < config.alerting.repeat_seconds < LEAST_REPEAT_SECONDS:
        problems.append(
            f"alerting.repeat_seconds: {config.alerting.repeat_seconds:g} must be 0 (never) or at "
            f"least {LEAST_REPEAT_SECONDS:g}"
        )
    problems += delivery_problems(config.alerting.delivery)
    return problems


def _export_problems(config: Config) -> list[str]:
    problems = []
    file, path = config.web.config_file, config.textfile.path
    if file is not None and (not file.startswith("/") or "\0" in file):
        problems.append(f"web.config_file: {file!r} is not an absolute path")
    if path is not None and (not path.startswith("/") or "\0" in path):
        problems.append(f"textfile.path: {path!r} is not an absolute path")
    elif path is not None and not path.endswith(".prom"):
        problems.append(f"textfile.path: {path!r} must end in .prom, or node_exporter ignores it")
    otlp = config.otlp
    problem = None if otlp.endpoint is None else url_problem(otlp.endpoint)
    if problem is not None:
        problems.append(f"otlp.endpoint: {problem}")
    if otlp.tls.key_file is not None and otlp.tls.cert_file is None:
        problems.append("otlp.tls.key_file: needs cert_file beside it")
    return problems


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, times in Counter(names).items() if times > 1}
