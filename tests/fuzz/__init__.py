"""Fuzzing of every parser: targets, a mutator without dependencies, a coverage-guided long run."""
