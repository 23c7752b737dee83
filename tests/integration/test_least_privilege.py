"""The main job as a user who can read the database's files and nothing more."""

import os
from pathlib import Path

import pytest

from tests.integration.daemon import daemon, write_config
from tests.integration.demands import demands
from tests.integration.faults import needs_fio, needs_root
from tests.integration.owner import counts_all, owning
from tests.integration.test_harmless import NOBODY, nobody

pytestmark = pytest.mark.long

ONE_FIO = (
    "secondary: {enabled: false}\nfio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 3600}\n"
)


@needs_fio
@needs_root
@pytest.mark.parametrize("access", ["everybody", "group"])
def test_who_may_read_the_files_gets_s_max(place: Path, access: str) -> None:
    """As nobody beside root's database. What needs more says so, and how to get it."""
    database = place / "db"
    umask = 0o022
    database.mkdir()
    if access == "group":
        os.chown(database, 0, NOBODY)
        database.chmod(0o2750)
        umask = 0o027
    with (
        nobody(place) as agent,
        owning(database, umask=umask) as owner,
        daemon(
            place,
            *("--config", write_config(place, ONE_FIO), "--db", str(database)),
            python=agent.python,
            user=NOBODY,
            PYTHONPATH=f"{agent.source}:{agent.packages}",
            LD_LIBRARY_PATH=str(Path(agent.python).parents[1] / "lib"),
        ) as running,
        demands(running, place),
    ):
        page = running.wait_until(
            lambda page: (
                page.value("smax_recommended_puts_per_second", db=str(database))
                and page.value("smax_observed_puts_per_second", db=str(database))
                and page.value("smax_probe_success", probe="process_io", target=str(database))
                is not None
            ),
            "S_max and the put rate",
        )
        counts_all(running, owner, database)
        document = running.status()
        probes = {p["probe"]: p for p in document["probes"] if p["target"] == str(database)}

    assert document["databases"][0]["owner_pid"] == owner.pid
    assert page.value("smax_probe_success", probe="process_io", target=str(database)) == 0.0
    assert probes["process_io"]["reason"] == "not_permitted"
    assert probes["process_io"]["absent"] is True
    assert "CAP_SYS_PTRACE" in probes["process_io"]["detail"]
    others = {name: p["reason"] for name, p in probes.items() if name != "process_io"}
    assert set(others.values()) == {None}
