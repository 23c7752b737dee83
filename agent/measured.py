"""The models built on measured demands, for one database: from findings to estimates. Pure.

``MeasuredModels``, one per incarnation: ``update(...)`` once a tick gives a `MeasuredView`;
``simulation_due(now)`` the inputs of a run that somebody with a processor to spare should make, and
``take_simulated(answer, at)`` its result.
"""

from dataclasses import dataclass
from typing import Final

from agent.demands.demands import DemandEstimator
from agent.findings import DatabaseFindings
from agent.inputs.model_inputs import CpuShare, model_inputs
from agent.models.bottleneck import bottleneck_estimate
from agent.models.estimate import Estimate
from agent.models.lsm import ModelInputs, Simulated, SimulatedRate
from agent.models.lsm_estimate import simulator_estimate
from agent.readings import Known, Missing, Quantity
from agent.simulation_pace import SIMULATION_INTERVAL_SECONDS, SimulationPace
from agent.snapshot import DeviceSnapshot

SIMULATION_MAX_AGE_SECONDS: Final = 3 * SIMULATION_INTERVAL_SECONDS
"""An older run was made with other inputs than those of now."""


_NO_DEVICE = Missing("no_device", "the device behind the database is not known")
_NOT_SIMULATED = Missing("not_yet_measured", "the simulator has not run yet")


@dataclass(frozen=True, slots=True)
class MeasuredView:
    """What the measured models say after a tick; ``estimates`` are before calibration."""

    inputs: Known[ModelInputs] | Missing
    estimates: Known[tuple[Estimate, ...]] | Missing
    simulated: Known[SimulatedRate] | Missing
    debt_bytes: Quantity
    debt_clear_seconds: Quantity


class MeasuredModels:
    """Follows one incarnation of a database."""

    def __init__(self) -> None:
        self._estimator = DemandEstimator()
        self._inputs: ModelInputs | None = None
        self._asked = False
        self._max_age_seconds = SIMULATION_MAX_AGE_SECONDS
        self._pace = SimulationPace()
        self._rate = 0.0  # by the bottleneck model
        self._taken: Simulated | Missing = _NOT_SIMULATED
        self._simulated: Known[SimulatedRate] | Missing = _NOT_SIMULATED
        self._simulator_estimate: Estimate | None = None

    def update(
        self,
        findings: DatabaseFindings,
        device: DeviceSnapshot | None,
        foreign: Quantity,
        cpu: CpuShare,
        observed: Quantity,
        now: float,
    ) -> MeasuredView:
        """Take one tick into account; ``device`` carries the data directory."""
        demands = self._estimator.update(
            findings, observed, _NO_DEVICE if device is None else device.counters
        )
        simulated = self._simulated
        if isinstance(simulated, Known) and simulated.age_seconds(now) > self._max_age_seconds:
            age = simulated.age_seconds(now)
            simulated = Missing("stale", f"the simulator last ran {age:.0f} s ago")
        if isinstance(demands, Missing):
            self._inputs = None
            return MeasuredView(demands, demands, demands, demands, demands)
        inputs = model_inputs(findings, demands, device, foreign, cpu, observed)
        if isinstance(inputs, Missing):
            self._inputs = None
            return MeasuredView(
                inputs, inputs, inputs, demands.debt_bytes, demands.debt_clear_seconds
            )
        self._inputs = inputs
        answers: list[Estimate | Missing] = [bottleneck_estimate(inputs, demands)]
        first = answers[0]
        self._rate = first.puts_per_second if isinstance(first, Estimate) else 0.0
        if isinstance(simulated, Known) and self._simulator_estimate is not None:
            answers.append(self._simulator_estimate)
        estimates = tuple(answer for answer in answers if isinstance(answer, Estimate))
        source = inputs.sources.get("device_write_bytes_per_second", "")
        return MeasuredView(
            inputs=Known(inputs, source, inputs.at),
            estimates=(
                Known(estimates, source, min(estimate.at for estimate in estimates))
                if estimates
                else _absence(answers)
            ),
            simulated=simulated,
            debt_bytes=demands.debt_bytes,
            debt_clear_seconds=demands.debt_clear_seconds,
        )

    def simulation_due(self, now: float, rarer: float = 1.0) -> ModelInputs | None:
        """The inputs to simulate now, None while no run is due; asking counts as the request.

        ``rarer`` is how many times longer all intervals are.
        """
        if self._inputs is None:
            return None
        self._max_age_seconds = SIMULATION_MAX_AGE_SECONDS * rarer
        if not self._pace.due(now, self._rate, rarer):
            return None
        self._asked = True
        return self._inputs

    def take_simulated(self, answer: Simulated | Missing, at: float) -> None:
        """Take the result of the latest run, or why there is none; the same one again is no news.

        What was there before the first request is about another incarnation.
        """
        if answer is self._taken:
            return
        self._taken = answer
        if not self._asked:
            return
        if isinstance(answer, Missing):
            self._simulated = answer
            return
        self._simulated = Known(answer.rate, "simulator", at)
        self._simulator_estimate = simulator_estimate(answer.inputs, answer.rate)


def _absence(answers: list[Estimate | Missing]) -> Missing:
    return next(answer for answer in answers if isinstance(answer, Missing))
