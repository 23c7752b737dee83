"""Which column families a LOG has named, and how many files each of their levels had last. Pure."""

from collections.abc import Mapping

from probes.rocksdb import log_lines
from probes.rocksdb.log_stalls import MAX_COLUMN_FAMILIES


class FamilyTable:
    """Column families by id, and their newest levels by name."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._level_files: dict[str, tuple[int, ...]] = {}

    @property
    def level_files(self) -> Mapping[str, tuple[int, ...]]:
        """Files of each level, by column family."""
        return self._level_files

    def only_one(self) -> str | None:
        """The column family that a message without a name must mean, None when there are more."""
        return next(iter(self._names.values())) if len(self._names) == 1 else None

    def named(self, line: bytes) -> None:
        """A line of the header, or of a family's creation."""
        family = log_lines.parse_family(line)
        if family is not None and len(self._names) < MAX_COLUMN_FAMILIES:
            self._names[family[0]] = family[1]

    def dropped(self, line: bytes) -> str | None:
        """A line that tells the id of one that was dropped; its name, if that is known."""
        number = line.rpartition(b" ")[2].strip()
        name = self._names.pop(int(number[:18]), None) if number.isdigit() else None
        if name is not None:
            self._level_files.pop(name, None)
        return name

    def note_levels(self, name: str, files: tuple[int, ...]) -> None:
        """A flush, compaction or move has told what the levels hold now."""
        if name in self._level_files or len(self._level_files) < MAX_COLUMN_FAMILIES:
            self._level_files[name] = files

    def forget_levels(self) -> None:
        """The database was opened anew."""
        self._level_files.clear()
