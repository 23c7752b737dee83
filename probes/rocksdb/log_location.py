"""Where a database's LOG lies, its predecessors, and one that has lost its name meanwhile.

Source: file/filename.cc (InfoLogFileName, GetInfoLogPrefix), env/env.cc (default names).
"""

import os
import re

_CONTAINER_ROOT = re.compile(r"^/proc/\d+/root(?=/)")
_MANGLED_LIMIT_BYTES = 260 - len("_LOG") - 1  # the buffer of InfoLogPrefix
_OLD = re.compile(r"\.old\.(\d{1,20})$")
MAX_DIRECTORY_ENTRIES = 200_000


def mangled_name(database_path: str) -> str:
    """The LOG's file name inside ``db_log_dir`` for a database at this absolute path."""
    path = re.sub(r"/{2,}", "/", database_path)
    raw = os.fsencode(path[1:] if path.startswith("/") else path)
    kept = re.sub(rb"[^A-Za-z0-9._-]", b"_", raw)[:_MANGLED_LIMIT_BYTES]
    return kept.decode("ascii") + "_LOG"


def log_candidates(database_path: str, db_log_dir: str | None) -> list[str]:
    """Paths to try, best first.

    A database reached through ``/proc/<pid>/root`` has its own idea of absolute paths: names are
    mangled without that prefix, and ``db_log_dir`` is looked up behind it.
    """
    path = database_path if len(database_path) <= 1 else database_path.rstrip("/")
    if db_log_dir:
        root = _CONTAINER_ROOT.match(path)
        prefix = root[0] if root else ""
        inner = path[len(prefix) :]
        directory = prefix + db_log_dir
        name = mangled_name(inner)
        candidates = [f"{directory.rstrip('/')}/{name}"]
        # The database was perhaps opened by another name (a symlink, a relative path): a file
        # whose name ends in the last component is it, if it is the only one.
        ending = mangled_name(os.path.basename(inner))
        others = [
            entry
            for entry in _names(directory)
            if entry != name and (entry == ending or entry.endswith("_" + ending))
        ]
        if len(others) == 1:
            candidates.append(f"{directory.rstrip('/')}/{others[0]}")
        return candidates
    candidates = [f"{path}/LOG", f"{path}/rocksdb.info"]
    if os.path.basename(path) == "db":
        candidates.append(f"{os.path.dirname(path)}/rocksdb.info")  # TiKV: beside its "db"
    return candidates


def old_logs(log_path: str) -> list[tuple[int, str]]:
    """Every ``LOG.old.<micros>`` beside ``log_path``, oldest first: (micros, path)."""
    directory, name = os.path.split(log_path)
    return sorted(
        (int(found[1]), f"{directory}/{entry}")
        for entry in _names(directory or ".")
        if entry.startswith(name) and (found := _OLD.fullmatch(entry, len(name)))
    )


def places(log_path: str, seen: os.stat_result) -> tuple[str | None, str]:
    """Where a file that was the LOG lies now, None when it was deleted; and which one followed it.

    That is the LOG, unless it was rotated meanwhile, too: an old LOG's name tells when it ended, so
    the first that ended later than the one seen follows that one.
    """
    ended_micros = seen.st_mtime_ns // 1000  # for a file that has no name left
    left = None
    for micros, path in reversed(old := old_logs(log_path)):
        try:
            if os.path.samestat(os.stat(path), seen):
                ended_micros, left = micros, path
                break
        except OSError:
            continue  # deleted meanwhile
    return left, next((path for micros, path in old if micros > ended_micros), log_path)


def _names(directory: str) -> list[str]:
    names: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                names.append(entry.name)
                if len(names) >= MAX_DIRECTORY_ENTRIES:
                    break
    except OSError:
        return []  # the caller finds out when it opens the file
    return names
