"""The source of the Grafana dashboards."""
