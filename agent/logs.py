"""The agent's own log: structured, on stderr, events as constant strings with values as keys."""

import logging
import sys

import structlog

from agent.config import LogSettings
from agent.loop import Logger


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
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logger: Logger = structlog.get_logger()
    return logger
