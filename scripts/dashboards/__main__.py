"""Writes the Grafana dashboards: python -m scripts.dashboards [DIRECTORY].

The directory is configs/grafana/dashboards by default. Needs the package grafana-foundation-sdk,
which the extra ``test`` brings.
"""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from scripts.dashboards.fleet import fleet_dashboard
from scripts.dashboards.host import host_dashboard

DASHBOARDS = Path(__file__).resolve().parents[2] / "configs" / "grafana" / "dashboards"


def main(directory: Path) -> None:
    """One file per dashboard, named by its uid."""
    for dashboard in (host_dashboard(), fleet_dashboard()):
        text = JSONEncoder(indent=2, sort_keys=True).encode(dashboard)
        (directory / f"{dashboard.uid}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DASHBOARDS)
