"""Commands that predict: the models on numbers, on the daemon's inputs, on a recording."""

from typing import Any

import click

from agent.cli.options import PATH, fail, json_option, url_option


@click.command()
@click.option("--bandwidth", type=float, required=True, help="Available write bandwidth, MiB/s.")
@click.option("--phase", type=click.Choice(["initial", "middle", "final"]))
@click.option("--runtime-min", type=float, help="Age of the database in minutes.")
@click.option("--db-size-gb", type=float, help="Size of the database in GB.")
@click.option("--record-size", type=float, default=1040.0, show_default=True, help="Bytes per put.")
@click.option("--wa", type=float, help="Write amplification.")
@click.option("--ra", type=float, help="Read amplification.")
@click.option("--model", type=click.Choice(["v4", "v4.1", "auto"]), default="auto")
@json_option
def predict(as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click passes the options by name
    """Apply a model to given numbers; no daemon, no measurement."""
    from agent.commands.models import print_prediction
    from agent.models.prediction import InvalidInput

    try:
        print_prediction(as_json=as_json, **options)
    except InvalidInput as error:
        fail(str(error), 2)


@click.command()
@json_option
def validate(as_json: bool) -> None:
    """Show the reference experiment: what was claimed, and what its formula gives."""
    from agent.commands.models import print_validation

    print_validation(as_json=as_json)


@click.command()
@url_option
@json_option
@click.option("--db", "database", help="Only this database, by the name it is watched under.")
def explain(url: str, as_json: bool, database: str | None) -> None:
    """Show how S_max came about, what limits it, and how sure it is; exit 1 without a daemon."""
    from agent.commands.explain import show_explanation

    raise SystemExit(show_explanation(url, database, as_json=as_json))


@click.command()
@url_option
@json_option
@click.option("--db", "database", help="The database, by the name it is watched under.")
@click.option(
    "--inputs", "inputs_file", type=PATH, metavar="FILE", help="A saved 'smaxd explain --json'."
)
@click.option("--max-background-jobs", type=int, help="A quarter flushes, the rest compacts.")
@click.option("--max-subcompactions", type=int)
@click.option("--value-size", type=float, metavar="BYTES", help="Of one put; keys stay.")
@click.option("--compression", metavar="none|lz4|snappy|zstd", help="For the whole tree.")
@click.option("--device-mbps", type=float, help="MiB/s the device writes in all (1 = 1048576 B/s).")
@click.option("--foreign-mb", type=float, help="MiB/s that others write to the device.")
@click.option("--write-buffer-mb", type=float, help="MiB per memtable.")
@click.option("--max-write-buffer-number", type=int)
@click.option("--l0-compaction", type=int, metavar="FILES", help="Level-0 compaction trigger.")
@click.option("--l0-slowdown", type=int, metavar="FILES", help="Level-0 slowdown trigger.")
@click.option("--l0-stop", type=int, metavar="FILES", help="Level-0 stop trigger.")
@click.option("--level-base-mb", type=float, help="MiB of the base level.")
@click.option("--level-multiplier", type=float, help="Each level over the one above it.")
@click.option("--target-file-mb", type=float, help="MiB per table file.")
@click.option("--compaction-style", type=click.Choice(["level", "universal"]))
@click.option("--rate-limit-mb", type=float, help="MiB/s of RocksDB's rate limiter; 0: none.")
@click.option("--cpu-cores", type=float, help="Cores this database may use.")
@click.option("--wal", type=click.Choice(["on", "off"]))
@click.option("--put-rate", metavar="+N|-N|=N|xF", help="Does this load fit? +20000, =30000, x1.5")
@click.option("--duration", metavar="TIME", help="How long it lasts: 90s, 4h, 2d.  [default: 1h]")
def whatif(
    url: str,
    as_json: bool,
    database: str | None,
    inputs_file: str | None,
    **options: Any,  # noqa: ANN401 - click passes the options by name
) -> None:
    """Predict S_max with changed options, records or host, and whether a load fits.

    All MB are MiB (1048576 bytes).
    """
    from agent.commands.whatif import show_what_if
    from agent.whatif.models import rate_models

    raise SystemExit(
        show_what_if(url, database, inputs_file, options, rate_models(), as_json=as_json)
    )


@click.command("replay")
@click.argument("recording", type=PATH)
@json_option
@click.option("--at", metavar="SECONDS|last", help="Only the last tick until then.")
@click.option("--every", default=30.0, show_default=True, help="Seconds between the table's rows.")
@click.option("--model", help="Of the models only this one, such as v4.1.")
def replay(recording: str, as_json: bool, at: str | None, every: float, model: str | None) -> None:
    """Show what this version says about a recording of smaxd run --record, over its time."""
    from agent.commands.replay import print_replay

    raise SystemExit(
        print_replay(recording, as_json=as_json, at=at, every_seconds=max(0.1, every), model=model)
    )
