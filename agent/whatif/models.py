"""What predicts for ``whatif``: the simulator, and the bottleneck model on what it finds. Pure.

rate_models() -> the models by name, for one answer of ``agent.whatif.whatif.what_if``
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from agent.demands.demands import Demands
from agent.models import bottleneck, lsm_estimate
from agent.models.lsm import ModelInputs
from agent.models.lsm_simulator import simulate
from agent.readings import Missing
from agent.whatif.whatif import Answer, RateModel

_GONE = Missing("not_in_inputs", "measured demands are of the present state, not of a changed one")
_NOT_A_DEMAND: dict[str, Any] = {
    "column_family": None,
    "column_family_share": 1.0,
    "window_seconds": 0.0,
    "cycles": 0,
    "level0_output_share": None,
    "wal_enabled": None,
}
NOTHING_MEASURED = Demands(
    **{field.name: _NOT_A_DEMAND.get(field.name, _GONE) for field in dataclasses.fields(Demands)}
)
"""The bottleneck model then lives on the model inputs alone."""


def rate_models() -> Mapping[str, RateModel]:
    """The models by name."""
    return {lsm_estimate.MODEL: by_simulator, bottleneck.MODEL: by_bottleneck}


def by_simulator(inputs: ModelInputs) -> Answer | Missing:
    """The simulated rate; half a second of CPU at most."""
    try:
        simulated = simulate(inputs)
    except (ValueError, ArithmeticError) as error:
        return Missing("simulator_failed", str(error))
    estimate = lsm_estimate.simulator_estimate(inputs, simulated)
    return Answer(
        puts_per_second=estimate.puts_per_second,
        bottleneck=estimate.bottleneck,
        log_half_width=estimate.log_half_width,
        written_bytes_per_put=simulated.written_bytes_per_put,
        settled=simulated.converged,
    )


def by_bottleneck(inputs: ModelInputs) -> Answer | Missing:
    """The bound of the scarcest resource, bytes per put worked out from options and shape."""
    estimate = bottleneck.bottleneck_estimate(inputs, NOTHING_MEASURED)
    if isinstance(estimate, Missing):
        return estimate
    return Answer(estimate.puts_per_second, estimate.bottleneck, estimate.log_half_width)
