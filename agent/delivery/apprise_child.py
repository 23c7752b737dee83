"""The child process of ``agent.delivery.apprise_sender``: sends one message and ends.

Run by its file name: ``python -P apprise_child.py PARENT ROOT``, the message as JSON in
$SMAXD_APPRISE. Exit code 0 when it was sent; else 1 and one line on stdout, in which nothing of the
address is left.
"""

import json
import logging
import os
import resource
import sys

MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space; apprise uses a tenth of it."""


def main(arguments: list[str]) -> int:
    """Send; what cannot be sent is said in one line."""
    parent, root = arguments
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.path.insert(0, root)
    from agent.delivery.secret_files import (  # noqa: PLC0415 (not to be found before the path is set)
        SecretUnreadable,
        masked,
        read_secret,
    )
    from probes.tied import die_with_parent, first_to_die  # noqa: PLC0415

    die_with_parent(int(parent))
    first_to_die()
    message = json.loads(os.environ.pop("SMAXD_APPRISE"))
    try:
        url = read_secret(message["url_file"], {})
    except SecretUnreadable as error:
        return _fail(str(error))
    try:
        import apprise  # noqa: PLC0415
    except ImportError:
        return _fail("is not installed; install smaxd[apprise]")
    told = _Lines()
    logging.getLogger("apprise").addHandler(told)
    sender = apprise.Apprise()
    try:
        if not sender.add(url):
            return _fail(f"{message['url_file']}: is not an address that apprise knows")
        sent = sender.notify(
            body=message["body"],
            title=message["title"],
            notify_type=message["type"],
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:  # a plugin's defect; its traceback may show the URL
        return _fail(f"failed with {type(error).__name__}")
    return 0 if sent else _fail(masked("; ".join(told.lines) or "it was not sent", [url]))


class _Lines(logging.Handler):
    """Keeps what is logged at the level of a warning or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _fail(why: str) -> int:
    sys.stdout.write(" ".join(why.split())[:1000])
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
