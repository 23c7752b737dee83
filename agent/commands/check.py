"""``smaxd check``: the convention of host checks (Nagios, Icinga, Sensu, Checkmk)."""

from collections.abc import Mapping

import click

from agent.client import DEFAULT_URL, NoDaemon, fetch_status
from agent.status_documents import DatabaseDocument, StatusDocument

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
USAGE = "usage: smaxd check [--db NAME] [--url URL]"


def check_host(words: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Print one line and return the exit code; usage errors are "unknown" too."""
    options = {"--url": environ.get("SMAXD_URL", DEFAULT_URL), "--db": ""}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, separator, value = word.partition("=")
        if name not in options or not (separator or rest):
            return _say(UNKNOWN, f"{word!r}: {USAGE}")
        options[name] = value if separator else rest.pop(0)
    try:
        status, _ = fetch_status(options["--url"])
        return _say(*judge(status, options["--db"] or None))
    except NoDaemon as error:
        return _say(UNKNOWN, str(error))
    except KeyError as error:  # anything but 3 would be taken for a state of the database
        return _say(UNKNOWN, f"the daemon does not tell {error}; is it another version of smaxd?")


def judge(status: StatusDocument, name: str | None) -> tuple[int, str]:
    """Exit code and text: the worst active alert, else whether the numbers are there."""
    databases = [d for d in status.databases if name is None or d.name == name]
    if name is not None and not databases:
        known = ", ".join(d.name for d in status.databases) or "none"
        return UNKNOWN, f"no database {name!r} is watched; known: {known}"
    if status.stalled:
        return UNKNOWN, f"the agent has not ticked for {status.snapshot_age_seconds:.0f} s"
    names = {d.name for d in databases}
    devices = {place.device for d in databases for place in d.places if place.device}
    active = [
        alert
        for alert in status.alerts
        # A database's alert carries its device as a label, which others share.
        if alert.active
        and (
            name is None or (alert.database in names if alert.database else alert.device in devices)
        )
    ]
    critical = [alert for alert in active if alert.severity == "critical"]
    figures = "; ".join(_figures(d) for d in databases) or "no database is running"
    data = "".join(f"{' |' if d is databases[0] else ''} {_performance_data(d)}" for d in databases)
    for code, alerts in ((CRITICAL, critical), (WARNING, active)):
        if alerts:
            text = ", ".join(sorted({f"{a.alert} ({a.summary})" for a in alerts}))
            return code, f"{text} - {figures}{data}"
    unknown = [d.name for d in databases if d.recommended is None]
    return (UNKNOWN if unknown or not databases else OK), figures + data


def _figures(database: DatabaseDocument) -> str:
    observed = database.quantities["observed_puts_per_second"]
    rate = "unknown" if observed.value is None else f"{observed.value:,.0f}"
    if database.recommended is None:
        why = database.quantities["recommended_puts_per_second"].detail
        return f"{database.name}: {rate} puts/s, S_max unknown: {why}"
    s_max = database.recommended.puts_per_second
    headroom = database.quantities["headroom_ratio"].value
    shown = "unknown" if headroom is None else f"{100 * headroom:.0f} %"
    return f"{database.name}: {rate} of {s_max:,.0f} puts/s, headroom {shown}"


def _performance_data(database: DatabaseDocument) -> str:
    observed = database.quantities["observed_puts_per_second"].value
    s_max = database.recommended.puts_per_second if database.recommended else None
    label = database.name.replace("'", "")
    return (
        f"'{label} puts'={'U' if observed is None else f'{observed:.0f}'} "
        f"'{label} s_max'={'U' if s_max is None else f'{s_max:.0f}'}"
    )


def _say(code: int, text: str) -> int:
    click.echo(f"SMAXD {WORDS[code]}: {' '.join(text.split())}")
    return code
