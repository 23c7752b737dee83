"""When the agent may measure by writing, and the operator's pause."""
