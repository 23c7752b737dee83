"""Removing what killed runs left, once at the start: the next probe there may be hours away."""

import functools
from collections.abc import Callable, Mapping

from agent.config import Config
from agent.patience import Questions
from probes.rocksdb.secondary import remove_private_leftovers
from probes.scratch import mount_point, remove_scratch_leftovers, shared_candidates


def remove_leftovers(
    config: Config, environ: Mapping[str, str], private_parent: str, questions: Questions
) -> None:
    """Wherever the configuration and the environment let them lie; on a dead disk once it answers,
    which nobody waits for."""
    named = () if config.scratch is None else (config.scratch,)
    databases = [path for one in config.databases for path in (one.path, *one.db_paths)]
    removals: dict[str, Callable[[], int]] = {
        f"leftovers of secondaries in {private_parent}": functools.partial(
            remove_private_leftovers, private_parent
        )
    }
    for parent in (*named, *shared_candidates(environ)):
        removals[f"leftovers in {parent}"] = functools.partial(remove_scratch_leftovers, [parent])
    # Also of a database that is away: its file system may be there.
    for path in ("/", *databases):
        removals[f"leftovers on the file system of {path}"] = functools.partial(_at_mount, path)
    questions.ask(removals)


def _at_mount(path: str) -> int:
    return remove_scratch_leftovers([mount_point(path)])
