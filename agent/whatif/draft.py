"""Model inputs while a change is worked into them, with what is said about it. Pure."""

from agent.models.lsm import HostShare, ModelInputs, TreeCosts, TreeOptions, TreeShape
from agent.whatif.compression_prior import Lean


class Draft:
    """Inputs under construction: each change in words, and what could not be known."""

    def __init__(self, inputs: ModelInputs, lean: Lean) -> None:
        self.options: TreeOptions = inputs.options
        self.costs: TreeCosts = inputs.costs
        self.shape: TreeShape = inputs.shape
        self.host: HostShare = inputs.host
        self.lean: Lean = lean
        self.changes: list[str] = []
        self.notes: list[str] = []
