"""How a panel of the dashboards looks: one function per kind, over Grafana's own typed builders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, ORANGE, RED, BLUE, PURPLE = "green", "orange", "red", "blue", "purple"

PUTS = "count:puts/s"
RATIO, BYTES, BYTE_RATE, SECONDS, NUMBER = "percentunit", "bytes", "Bps", "s", "short"

Query = tuple[str, str]
"""The legend, and the PromQL."""

Steps = Sequence[tuple[float | None, str]]
"""The colour from each value on; None is minus infinity."""

IN_FORCE = {1: ("in force", BLUE)}
YES_NO = {0: ("no", GREEN), 1: ("yes", RED)}
"""What the values of a timeline are called, and their colours."""

HEADROOM_STEPS: Steps = ((None, RED), (0.05, ORANGE), (0.2, GREEN))
"""The defaults of the alert ``RocksdbWriteHeadroomLow``."""


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Absolute thresholds."""
    marks = [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(marks)


def states(names: Mapping[int, tuple[str, str]]) -> ValueMap:
    """What a value is called, and its colour."""
    return ValueMap(
        {
            str(value): ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(names.items())
        }
    )


def over_time(queries: Sequence[Query]) -> list[Dataquery]:
    """Range queries, named A, B, ..."""
    return [
        Dataquery().ref_id(chr(ord("A") + number)).expr(expr).legend_format(legend).range()
        for number, (legend, expr) in enumerate(queries)
    ]


def at_the_end(queries: Sequence[Query]) -> list[Dataquery]:
    """Instant queries, at the end of the time range."""
    return [
        Dataquery().ref_id(chr(ord("A") + number)).expr(expr).legend_format(legend).instant()
        for number, (legend, expr) in enumerate(queries)
    ]


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    height: int = 8,
    stacked: bool = False,
    steps: Steps | None = None,
    least: float | None = 0.0,
    most: float | None = None,
) -> TimeSeries:
    """Lines over time; ``steps`` are drawn as dashed lines."""
    panel = (
        TimeSeries()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .targets([*over_time(queries)])
    )
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if steps is not None:
        panel = panel.thresholds(thresholds(steps)).thresholds_style(
            GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    if least is not None:
        panel = panel.axis_soft_min(least)
    if most is not None:
        panel = panel.max(most)
    return panel


def band(panel: TimeSeries, lower: str, upper: str) -> TimeSeries:
    """Fill between two lines of the panel, which are not drawn themselves; by their legends."""
    hidden = DynamicConfigValue("custom.lineWidth", 0)
    color = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": BLUE})
    filled = [
        DynamicConfigValue("custom.fillBelowTo", lower),
        DynamicConfigValue("custom.fillOpacity", 15),
    ]
    return panel.override_by_name(lower, [hidden, color]).override_by_name(
        upper, [hidden, color, *filled]
    )


def colored(panel: TimeSeries, legend: str, color: str, width: int = 2) -> TimeSeries:
    """Give one line of the panel its colour."""
    return panel.override_by_name(
        legend,
        [
            DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color}),
            DynamicConfigValue("custom.lineWidth", width),
        ],
    )


def timeline(
    title: str,
    description: str,
    names: Mapping[int, tuple[str, str]],
    *queries: Query,
    width: int = 12,
    height: int = 6,
) -> StateTimeline:
    """One lane per series, with the name and the colour of its value."""
    return (
        StateTimeline()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(NUMBER)
        .mappings([states(names)])
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds(((None, "text"),)))
        .span(width)
        .height(height)
        .line_width(0)
        .fill_opacity(80)
        .row_height(0.8)
        .merge_values(True)
        .show_value(VisibilityMode.NEVER)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.SINGLE).sort(SortOrder.NONE))
        .targets([*over_time(queries)])
    )


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    steps: Steps,
    width: int = 4,
    height: int = 4,
) -> Stat:
    """One number as it is now, coloured by its thresholds, with its recent course behind it."""
    return (
        Stat()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .thresholds(thresholds(steps))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .targets([*over_time([query])])
    )


@dataclass(frozen=True)
class Column:
    """A column of a table: an instant query, or a label that the queries share."""

    title: str
    unit: str = NUMBER
    expr: str | None = None
    label: str | None = None
    """The label to show; of a query with an ``expr``, in place of its value."""
    steps: Steps | None = None
    link: str | None = None
    """A dashboard that the column's cells lead to."""


def table(
    title: str,
    description: str,
    columns: Sequence[Column],
    sorted_by: str,
    width: int = 24,
    height: int = 8,
) -> Table:
    """One row per set of labels that the queries share."""
    letters = (chr(ord("A") + number) for number in count())
    queries: list[Query] = []
    names: dict[str, str] = {}
    hidden: dict[str, bool] = {"Time": True}
    panel = Table().title(title).description(description).datasource(DATASOURCE).unit(NUMBER)
    for column in columns:
        field = column.label or ""
        if column.expr is not None:
            value = f"Value #{next(letters)}"
            queries.append((column.title, column.expr))
            hidden[value] = column.label is not None
            field = column.label or value
        names[field] = column.title
        properties = [DynamicConfigValue("unit", column.unit)]
        if column.steps is not None:
            properties += [
                DynamicConfigValue("thresholds", thresholds(column.steps).build()),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        if column.link is not None:
            link = DashboardLink(f"Open {column.title}").url(column.link)
            properties.append(DynamicConfigValue("links", [link.build()]))
        panel = panel.override_by_name(column.title, properties)
    return (
        panel.span(width)
        .height(height)
        .show_header(True)
        .sort_by([TableSortByFieldState().display_name(sorted_by).desc(False)])
        .with_transformation(DataTransformerConfig("merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                "organize",
                options={
                    "excludeByName": {name: True for name, out in hidden.items() if out},
                    "indexByName": {field: index for index, field in enumerate(names)},
                    "renameByName": names,
                },
            )
        )
        .targets([query.format(PromQueryFormat.TABLE) for query in at_the_end(queries)])
    )
