"""The inputs of the models, complete: what is measured, and what stands in for the rest."""
