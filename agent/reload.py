"""Reading the configuration anew while the daemon runs (SIGHUP): the good takes effect between two
ticks, the bad leaves the old one in force. Either way the log and two gauges tell.
"""

from collections.abc import Callable

import structlog

from agent.config import Config, ConfigError, config_hash
from agent.patience import Questions, enclosing_in_time, real_paths
from agent.reload_plan import ConfigLoad, plan_reload
from probes.clock import Clock

Logger = structlog.typing.FilteringBoundLogger


class ConfigReload:
    """Holds the configuration in force; ``read`` gives the one that is wanted, or ConfigError.

    ``apply`` puts one in force; it is called between two ticks only. ``state_directory`` must not
    come to lie in a database, as far as ``questions`` are answered.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        apply: Callable[[Config], None],
        clock: Clock,
        log: Logger,
        state_directory: str | None,
        questions: Questions,
    ) -> None:
        self.config = config
        self.last = ConfigLoad(successful=True, success_wall_seconds=clock.wall())
        self._read = read
        self._apply = apply
        self._clock = clock
        self._log = log
        self._state_directory = state_directory
        self._questions = questions

    def reload(self) -> None:
        """Read the configuration and put it in force, or say why not; raises nothing."""
        try:
            plan = plan_reload(self.config, self._read())
            self._check(plan.config)
        except ConfigError as error:
            self.last = ConfigLoad(False, self.last.success_wall_seconds)
            for problem in error.problems:
                self._log.error("config_invalid", problem=problem)
            self._log.error("config_not_reloaded", hash=config_hash(self.config))
            return
        except Exception:  # a defect must not end the service, and is no success either
            self._not_reloaded()
            return
        try:
            self._apply(plan.config)
        except Exception:
            self._not_reloaded()
            self._take_back()
            return
        self.config = plan.config
        self.last = ConfigLoad(True, self._clock.wall())
        self._log.info(
            "config_reloaded",
            hash=config_hash(plan.config),
            changed=", ".join(plan.changed) or "nothing",
        )
        if plan.needs_restart:
            self._log.warning("config_needs_restart", settings=", ".join(plan.needs_restart))

    def _not_reloaded(self) -> None:
        self.last = ConfigLoad(False, self.last.success_wall_seconds)
        self._log.exception("config_not_reloaded", hash=config_hash(self.config))

    def _take_back(self) -> None:
        """Put the old configuration in force in the parts that may have taken the new one."""
        try:
            self._apply(self.config)
        except Exception:  # as above; what failed once may fail again
            self._log.exception("config_half_applied", hash=config_hash(self.config))

    def _check(self, config: Config) -> None:
        directory = self._state_directory
        if directory is None:
            return
        paths = [path for one in config.databases for path in (one.path, *one.db_paths)]
        known = real_paths(paths, self._questions)
        enclosing = enclosing_in_time(directory, known, self._questions)
        if enclosing is not None:
            raise ConfigError(
                [f"databases: {enclosing} holds the agent's own state directory {directory}"]
            )
