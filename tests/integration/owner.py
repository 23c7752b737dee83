"""The process that has a database open, and does what a test tells it."""

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.daemon import PATIENCE_SECONDS, Daemon

OWNER = """
import os, select, sys
from rocksdict import Options, Rdict

def options(settings):
    made = Options()
    made.create_if_missing(True)
    for setting in settings:
        name, _, value = setting.partition("=")
        getattr(made, "set_" + name)(int(value))
    return made

database, families, number = None, {}, 0
while True:
    if select.select([sys.stdin], [], [], 0.02)[0]:
        verb, *words = sys.stdin.readline().split() or ["end"]
        answer = 0
        if verb == "open":
            # Without this the default family keeps the options it was made with.
            families = {"default": options(words)}
            database = Rdict(sys.argv[1], options(words), families)
            families.clear()
            families[""] = database
        elif verb == "close":
            database.close()
            database, families = None, {}
        elif verb == "add":
            families[words[0]] = database.create_column_family(words[0], options(words[1:]))
        elif verb == "drop":
            del families[words[0]]
            database.drop_column_family(words[0])
        elif verb == "flush":
            for family in families.values():
                family.flush()
        elif verb == "count":
            answer = database.latest_sequence_number()
        else:
            break
        print(answer, flush=True)
    for family in families.values():
        for _ in range(40):
            family[number % 50_000] = os.urandom(100)
            number += 1
"""
"""Writes some 1000 puts/s into each column family, and does what it is told on its input."""


class Owner:
    """The process that owns a database."""

    def __init__(self, running: "subprocess.Popen[bytes]") -> None:
        self._running = running
        self.pid = running.pid

    def do(self, *words: str) -> int:
        """Have it do something, and wait until that is done."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(" ".join(words).encode() + b"\n")
        self._running.stdin.flush()
        ready, _, _ = select.select([self._running.stdout], [], [], PATIENCE_SECONDS)
        assert ready, f"the owner did not {words}"
        return int(self._running.stdout.readline())


@contextmanager
def owning(database: Path, *settings: str, **options: Any) -> Iterator[Owner]:
    """A process that has the database open until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,
    ) as running:
        try:
            owner = Owner(running)
            owner.do("open", *settings)
            yield owner
        finally:
            running.kill()


def counts_all(running: Daemon, owner: Owner, database: Path) -> None:
    """The published total catches up with the owner's own count and never runs ahead of it."""
    before = owner.do("count")
    name = str(database)
    page = running.wait_until(
        lambda page: (page.value("smax_puts_total", db=name) or 0.0) >= before,
        "all puts are counted",
    )
    assert (page.value("smax_puts_total", db=name) or 0.0) <= owner.do("count")
