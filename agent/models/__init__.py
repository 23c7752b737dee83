"""The put-rate models: pure arithmetic, scalar and over numpy arrays in one implementation."""
