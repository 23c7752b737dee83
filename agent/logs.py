"""The agent's own log: structured, on stderr, events as constant strings with values as keys."""

import logging
import sys
from typing import TextIO, cast

import structlog

from agent.config import LogSettings
from agent.loop import Logger


class LossyStream:
    """Drops what cannot be written: a full disk under the log, a closed terminal or pipe must not
    end a tick, still less the daemon."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or drop."""
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            pass  # ValueError: the stream is closed; there is nowhere left to tell of either

    def flush(self) -> None:
        """Flush, or not."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass  # as above


def logger_for(settings: LogSettings) -> Logger:
    """Configure structlog for this process and return its logger.

    "auto" is the console renderer on a terminal and logfmt elsewhere (journald, a pipe).
    """
    form = settings.format
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "logfmt"
    renderer: structlog.typing.Processor
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer()
    elif form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
        )
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form != "console":
        processors.append(structlog.processors.format_exc_info)
    level = getattr(logging, settings.level.upper())
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, LossyStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logger: Logger = structlog.get_logger()
    return logger
