"""Whether an error has stopped writes for good, from the LOG's lines.

Pure. Source: db/error_handler.cc, and the "Waiting after background ..." lines of
db/db_impl/db_impl_compaction_flush.cc. RocksDB grades background errors: a *soft* one leaves
writes going, a *hard*, *fatal* or *unrecoverable* one makes every write fail. Only the latter is
a background error here. What the lines say, by version:

- up to 6.14 only "Waiting after background flush|compaction error: STATUS"; a failed WAL write
  leaves no line at all;
- 6.15 adds "Background IO error STATUS"; 6.17 or so "ErrorHandler: ..." saying what was decided;
  9.x adds ", reason N" to the former, 10.x ", auto_recovery=N, stop=N" to the latter.

Sensible reading of the cases between:

- A compaction out of space is soft: RocksDB polls the free space and goes on by itself.
- A retryable error of a compaction sets nothing ("Compaction will schedule by itself to resume").
- A retryable error of a flush without WAL (reasons 5 and 6) is soft.
- Any other retryable error, and a flush or WAL out of space, is hard *while* the recovery runs:
  writes fail or wait until "Successfully resumed DB". It is shown, and ends by itself.
"""

import re

from probes.rocksdb.log_lines import message_text

ERROR_MARKS = (
    b"] ErrorHandler: ",
    b"] Background IO error",
    b"Waiting after background ",
    b"Successfully resumed",
)

_NO_SPACE = "No space left on device"
_COMPACTION_REASON = 1
_REASONS_WITHOUT_WAL = (5, 6)
_REASON = re.compile(r", reason (\d{1,3})$")
_TABLE_FILE = re.compile(r"\.(?:sst|blob)\b")
_STOP = re.compile(r", stop=([01])")


class BackgroundErrorTracker:
    """The one background error a database can have: the first that stopped writes."""

    def __init__(self) -> None:
        self.message: str | None = None
        self.since_micros = 0
        self._cause = ""
        self._reason: int | None = None
        self._decides = False  # this version says what its ErrorHandler decided
        self._uncertain = False  # set by a line that the next one may explain away

    def clear(self) -> None:
        """Resumed, closed or opened anew."""
        self.message = None
        self._cause = ""
        self._reason = None
        self._uncertain = False

    def feed(self, line: bytes, at_micros: int) -> None:
        """Take a line that has one of ``ERROR_MARKS``."""
        text = message_text(line)
        if "Successfully resumed DB" in text:
            self.clear()
        elif text.startswith("Background IO error "):
            found = _REASON.search(text)
            self._reason = int(found[1]) if found else None
            self._cause = text[: found.start() if found else None].removeprefix(
                "Background IO error "
            )
            self._decides = self._decides or self._reason is not None
        elif text.startswith("ErrorHandler: "):
            self._decides = True
            self._decided(text.removeprefix("ErrorHandler: "), at_micros)
        elif "Waiting after background compaction error: " in text:
            self._waiting(text.partition("error: ")[2], at_micros, compaction=True)
        elif "Waiting after background flush error: " in text:
            self._waiting(text.partition("error: ")[2], at_micros, compaction=False)

    def _decided(self, text: str, at_micros: int) -> None:
        if text.startswith("Set regular background error"):
            stop = _STOP.search(text)
            if stop:
                if stop[1] == "1":
                    self._set(self._cause or text, at_micros)
            elif not (_NO_SPACE in self._cause and self._reason == _COMPACTION_REASON):
                # Without a reason, a table file may be a flush's or a compaction's; the "Waiting"
                # line that follows tells. A WAL or a MANIFEST out of space is hard.
                unknown = self._reason is None and _NO_SPACE in self._cause
                uncertain = unknown and _TABLE_FILE.search(self._cause) is not None
                self._set(self._cause or text, at_micros, uncertain=uncertain)
        elif text.startswith("Set background retryable IO error"):
            if self._reason not in _REASONS_WITHOUT_WAL:
                self._set(self._cause or text, at_micros, uncertain=True)
        elif text.startswith("Compaction will schedule by itself"):
            self._explain_away()
        elif "unrecoverable error" in text or "fatal error" in text:
            self._set(self._cause or text, at_micros)

    def _waiting(self, status: str, at_micros: int, *, compaction: bool) -> None:
        status = status.partition("Accumulated background error counts")[0].rstrip(", ")
        if compaction:
            if _NO_SPACE in status:
                self._explain_away()
            elif not self._decides:
                self._set(status, at_micros)
        elif not self._decides:
            self._set(status, at_micros)
        else:
            self._uncertain = False  # a flush failed, so what was set is really hard

    def _explain_away(self) -> None:
        if self._uncertain:
            self.clear()

    def _set(self, message: str, at_micros: int, *, uncertain: bool = False) -> None:
        if self.message is None:
            self.message = message
            self.since_micros = at_micros
            self._uncertain = uncertain
        elif not uncertain:
            self._uncertain = False
