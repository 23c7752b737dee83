"""Puts together what the models of the LSM tree need, every default resolved. Pure.

Interface: ``model_inputs(findings, demands, device, foreign, cpu, observed)``. Where an input
cannot be had, ``ModelInputs.missing`` names it and what was taken instead, and ``log_spread`` grows
by the amount that stands beside the fallback (``agent.inputs.tree``, ``host``, ``costs``); nothing
is guessed silently. Without the device's capacity, the record size or any
idea of the tree, there is no input set.
"""

from agent.demands.demands import Demands
from agent.findings import DatabaseFindings
from agent.inputs.costs import tree_costs
from agent.inputs.fallbacks import Fallbacks
from agent.inputs.host import CpuShare, host_share, reaching_share
from agent.inputs.tree import tree_options, tree_shape
from agent.models.lsm import ModelInputs
from agent.readings import Known, Missing, Quantity
from agent.snapshot import DeviceSnapshot

__all__ = ["CpuShare", "model_inputs"]


def model_inputs(
    findings: DatabaseFindings,
    demands: Demands | Missing,
    device: DeviceSnapshot | None,
    foreign: Quantity,
    cpu: CpuShare,
    observed: Quantity,
) -> ModelInputs | Missing:
    """Everything the models need about one database, or why they cannot say anything."""
    if isinstance(demands, Missing):
        return demands
    notes = Fallbacks()
    tree = tree_options(findings, demands, notes)
    shape = tree_shape(findings, demands, tree, notes)
    if isinstance(shape, Missing):
        return shape
    reaching = reaching_share(findings, demands, notes)
    host = host_share(device, foreign, cpu, min(1.0, reaching), notes)
    if isinstance(host, Missing):
        return host
    costs = tree_costs(demands, tree, reaching, notes)
    if isinstance(costs, Missing):
        return costs
    return ModelInputs(
        database=findings.name,
        column_family=demands.column_family or "default",
        options=tree,
        shape=shape,
        costs=costs,
        host=host,
        log_spread=notes.log_spread,
        missing=tuple(notes.missing),
        sources=notes.sources,
        at=notes.at,
        observed_puts_per_second=observed.value if isinstance(observed, Known) else None,
    )
