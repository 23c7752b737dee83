"""All reading of the host: one source, one file, one method that returns a frozen sample.

``probes`` never imports ``agent``: it observes and says nothing about what the numbers mean.
"""
