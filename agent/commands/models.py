"""``smaxd predict`` and ``smaxd validate``: the models without a host."""

import click
import msgspec

from agent.models.reference import validate
from agent.models.select import predict
from agent.status_documents import PredictionDocument


def print_prediction(
    *,
    as_json: bool,
    bandwidth: float,
    phase: str | None,
    runtime_min: float | None,
    db_size_gb: float | None,
    record_size: float,
    wa: float | None,
    ra: float | None,
    model: str,
) -> None:
    """Print one prediction; warnings go to stderr. InvalidInput for impossible numbers."""
    prediction = predict(
        model,
        bandwidth,
        phase=phase,
        runtime_minutes=runtime_min,
        database_size_gb=db_size_gb,
        record_size_bytes=record_size,
        write_amplification=wa,
        read_amplification=ra,
    )
    for warning in prediction.warnings:
        click.echo(f"smaxd: warning: {warning}", err=True)
    if as_json:
        document = msgspec.convert(prediction, PredictionDocument, from_attributes=True)
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        return
    click.echo(
        f"{prediction.puts_per_second:,.0f} puts/s  ({prediction.model}, {prediction.phase} phase, "
        f"confidence {prediction.confidence})\n"
        f"= {prediction.bandwidth_mib:g} MiB/s / {prediction.record_size:g} B "
        f"* {prediction.utilization:g} * {prediction.factor:.4f}"
    )


def print_validation(*, as_json: bool) -> None:
    """Print the reference experiment, claim beside recomputation."""
    result = validate()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
        return
    click.echo("The reference experiment (120 min FillRandom): claimed and recomputed accuracy\n")
    click.echo("phase     MiB/s     measured  model   predicted  recomputed   claimed")
    for point in result.points:
        claimed = point.claimed_accuracy_percent
        click.echo(
            f"{point.phase:<8}{point.bandwidth_mib:>7.1f} {point.measured_puts_per_second:>12,.0f}"
            f"  {point.model:<5}{point.predicted_puts_per_second:>12,.0f}"
            f"  {point.accuracy_percent:>8.1f} %"
            + ("         -" if claimed is None else f"  {claimed:>6.1f} %")
        )
    click.echo()
    for summary in result.summaries:
        claimed = summary.claimed_accuracy_percent
        said = "no claim" if claimed is None else f"claimed {claimed:.1f} %"
        click.echo(f"{summary.model:<5} mean {summary.mean_accuracy_percent:.1f} %, {said}")
    click.echo(
        "\nThe claimed accuracies do not follow from the published formula, and smaxd does not\n"
        "repeat them as its own."
    )
