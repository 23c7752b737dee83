"""SIGHUP and the real daemon: good files take effect, bad ones leave everything as it is."""

import signal
from pathlib import Path

from tests.integration.daemon import Daemon, Page, daemon, workplace, write_config, writing
from tests.integration.demands import demands

SUCCESSFUL = "smaxd_config_last_reload_successful"
SUCCESS_TIME = "smaxd_config_last_reload_success_timestamp_seconds"
QUIET = "fio: {enabled: false}\nsecondary: {enabled: false}\n"


def watching(*databases: Path) -> str:
    return QUIET + "databases:\n" + "".join(f"  - path: {path}\n" for path in databases)


def reload(running: Daemon, event: str, count: int, successful: float) -> Page:
    """Have it read its file again; the page once log (so many times) and gauge tell of it."""
    running.process.send_signal(signal.SIGHUP)
    return running.wait_until(
        lambda page: len(running.events(event)) >= count and page.value(SUCCESSFUL) == successful,
        f"{count} x {event}",
    )


def config_hash(page: Page) -> str:
    ((labels, _),) = page.samples("smaxd_config_info")
    return labels["hash"]


def test_good_files_take_effect_and_bad_ones_leave_the_old_in_force() -> None:
    """One daemon: a good reload, a bad one, a file that is gone, and a mended one."""
    with workplace() as place:
        first, second = place / "first", place / "second"
        config = write_config(place, watching(first))
        with (
            writing(first),
            writing(second),
            daemon(place, "--config", config) as running,
            demands(running, place),
        ):
            before = running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(first)),
                "the first one's put rate",
            )
            assert before.value(SUCCESSFUL) == 1.0
            write_config(place, watching(first, second))
            reload(running, "config_reloaded", 1, successful=1.0)
            rates = running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(second)),
                "the second one's put rate",
            )
            # Its probes are the same ones: nothing was started over.
            assert rates.value("smax_observed_puts_per_second", db=str(first)) is not None
            assert len(running.events("database_watched")) == 2
            assert config_hash(rates) != config_hash(before)

            write_config(place, "fio: {mode: brave}\ntick: 3\n")
            bad = reload(running, "config_not_reloaded", 1, successful=0.0)
            problems = running.events("config_invalid")
            assert [any(key in line for line in problems) for key in ("fio.mode", "tick:")] == [
                True,
                True,
            ]
            assert bad.value(SUCCESS_TIME) == rates.value(SUCCESS_TIME)
            assert config_hash(bad) == config_hash(rates)
            assert bad.value("smax_observed_puts_per_second", db=str(first)) is not None

            Path(config).unlink()
            reload(running, "config_not_reloaded", 2, successful=0.0)

            write_config(place, watching(second) + "web: {listen_address: ':1'}\nstate: /srv/x\n")
            mended = reload(running, "config_reloaded", 2, successful=1.0)
            assert mended.value(SUCCESS_TIME) != bad.value(SUCCESS_TIME)
            running.wait_until(
                lambda page: not page.samples("smax_probe_success", target=str(first)),
                "the first one to be watched no more",
            )
            # The listen address was given by an option, which goes on to override the file's.
            (needs_restart,) = running.events("config_needs_restart")
            assert "settings=state" in needs_restart


def test_without_a_file_a_reload_changes_nothing() -> None:
    """And ends nothing: the signal's default would."""
    with workplace() as place:
        database = place / "db"
        with writing(database), daemon(place, "--db", str(database)) as running:
            reload(running, "config_reloaded", 1, successful=1.0)

            assert "changed=nothing" in running.events("config_reloaded")[0]
            assert running.stop() == 0
