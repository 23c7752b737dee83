"""Before and after: the same models on both, the interval as wide as what is not known."""

import dataclasses
import math

import msgspec
import pytest

from agent.explain.explain import explain
from agent.explain.explanation import Explanation
from agent.models.lsm import ModelInputs
from agent.readings import Missing
from agent.snapshot import DatabaseSnapshot
from agent.whatif.change import Change
from agent.whatif.load import parse_load
from agent.whatif.models import rate_models
from agent.whatif.text import WIDTH, plain
from agent.whatif.whatif import (
    UNTESTED_LOG_HALF_WIDTH,
    Answer,
    NoAnswer,
    WhatIf,
    what_if,
)
from tests.unit import explained
from tests.unit.snapshots import AT

OWN_HALF_WIDTH = 0.25


def device_or_cpu(inputs: ModelInputs) -> Answer:
    """A model that can be worked out by hand: six writes per user byte, 20 us of CPU per put."""
    written = inputs.costs.record_bytes * inputs.costs.flush_output_ratio * 6.0
    by_device = inputs.host.device_write_bytes_per_second / written
    by_cpu = inputs.host.cpu_cores / 20e-6
    bottleneck = "device_write" if by_device <= by_cpu else "cpu"
    return Answer(min(by_device, by_cpu), bottleneck, OWN_HALF_WIDTH, {"compaction": written})


def explanation(database: DatabaseSnapshot | None = None) -> Explanation:
    return explain(database or explained.database(), explained.device(), AT)


def asked(change: Change, load: str | None = None, **models: object) -> WhatIf:
    return what_if(
        explanation(),
        change,
        None if load is None else parse_load(load, "4h"),
        {"bottleneck": device_or_cpu},
    )


def test_the_rate_before_is_the_published_one_and_the_ratio_the_model_s() -> None:
    """The daemon's calibration holds for both sides."""
    row = asked(Change(device_bytes_per_second=2 * explained.DEVICE)).models[0]

    assert row.before == explained.CALIBRATED.puts_per_second
    assert row.ratio == pytest.approx((2 * 100e6 - 2e6) / 98e6)
    assert row.after == pytest.approx(row.before * row.ratio)


def test_no_change_keeps_the_published_interval() -> None:
    """Nothing is assumed, nothing gets wider."""
    row = asked(Change(), "+1000").models[0]

    assert (row.ratio, row.bottleneck_after) == (1.0, "device_write")
    assert row.lower == pytest.approx(explained.CALIBRATED.lower)
    assert row.upper == pytest.approx(explained.CALIBRATED.upper)


def test_a_step_makes_the_interval_wider_by_a_part_of_it() -> None:
    """A model that is right now may be wrong about the step."""
    row = asked(Change(device_bytes_per_second=2 * explained.DEVICE)).models[0]
    published = math.log(explained.CALIBRATED.upper / explained.CALIBRATED.puts_per_second)

    assert math.log(row.upper / row.after) > published


def test_a_new_limit_was_never_tested_and_gets_the_interval_of_the_untested() -> None:
    """Labels of a full device say nothing about the CPU."""
    row = asked(Change(device_bytes_per_second=50 * explained.DEVICE)).models[0]

    assert (row.bottleneck_before, row.bottleneck_after) == ("device_write", "cpu")
    assert math.log(row.after / row.lower) >= UNTESTED_LOG_HALF_WIDTH


def test_what_is_not_known_about_the_change_widens_the_interval() -> None:
    """zstd on uncompressed data: anything between no gain and a fifth of the bytes."""
    answer = asked(Change(compression="zstd"))
    row = answer.models[0]

    assert row.ratio == pytest.approx(1.0 / 0.42)
    assert row.lower <= row.before * 1.0
    assert row.upper >= row.before * (1.0 / 0.18)
    assert any("a prior" in note for note in answer.notes)


def test_a_model_that_the_daemon_does_not_publish_has_its_own_interval() -> None:
    """And its own number."""
    row = what_if(explanation(), Change(), None, {"other": device_or_cpu}).models[0]

    assert row.before == device_or_cpu(explained.INPUTS).puts_per_second
    assert row.upper == pytest.approx(row.after * math.exp(OWN_HALF_WIDTH))


def test_the_recommended_model_comes_first() -> None:
    """It is the one to plan with."""
    models = {"other": device_or_cpu, "bottleneck": device_or_cpu}

    assert [row.model for row in what_if(explanation(), Change(), None, models).models] == [
        "bottleneck",
        "other",
    ]


def test_a_published_number_that_knows_no_changes_is_said_to() -> None:
    """V4 has no options to change."""
    v4_speaks = dataclasses.replace(
        explained.database(),
        recommended=explained.published_only().recommended,
        recommended_model="v4",
    )
    answer = what_if(explanation(v4_speaks), Change(wal=False), None, {"other": device_or_cpu})

    assert answer.notes[-1] == (
        "the published S_max is v4's, which knows no such changes: compare the ratios"
    )


def test_a_model_without_an_answer_leaves_the_others() -> None:
    """And its reason among the notes."""

    def silent(_: ModelInputs) -> Missing:
        return Missing("no_demand", "nothing was measured")

    answer = what_if(explanation(), Change(), None, {"silent": silent, "bottleneck": device_or_cpu})

    assert [row.model for row in answer.models] == ["bottleneck"]
    assert "silent has no answer: nothing was measured" in answer.notes
    with pytest.raises(NoAnswer, match="nothing was measured"):
        what_if(explanation(), Change(), None, {"silent": silent})


def test_a_rate_of_zero_is_no_rate() -> None:
    """A simulator that finds none says so, and no ratio is made of it."""

    def dead(inputs: ModelInputs) -> Answer:
        return Answer(0.0 if inputs.host.cpu_cores > 100.0 else 5.0, None, 0.3)

    with pytest.raises(NoAnswer, match="no rate that holds without a stall with the change"):
        what_if(explanation(), Change(cpu_cores=200.0), None, {"dead": dead})


def test_without_model_inputs_the_reason_is_the_daemon_s() -> None:
    """What it lacks, it says."""
    with pytest.raises(NoAnswer, match="the measured models have not run yet"):
        what_if(
            explanation(explained.published_only()), Change(wal=False), None, {"m": device_or_cpu}
        )


def test_a_load_is_judged_by_the_rate_after_the_change_and_its_interval() -> None:
    """6,120 and 10,000 more of 20,248."""
    load = asked(Change(), "+10000").load

    assert load is not None
    assert load.fit.put_rate == 16_120.0
    assert load.fit.verdict == "fits"
    assert load.fit.margin_ratio == pytest.approx(1.0 - 16_120.0 / 20_248.0, abs=1e-4)
    assert load.fit.margin_lower_ratio == pytest.approx(1.0 - 16_120.0 / 18_600.0)
    assert asked(Change(), "=30000").load is not None
    assert asked(Change(), "=30000").load.fit.verdict == "does not fit"  # type: ignore[union-attr]


def test_assumptions_are_said_once() -> None:
    """Not again as caveats of the load."""
    answer = asked(Change(), "+10000")

    assert answer.load is not None
    assert not [caveat for caveat in answer.load.caveats if caveat.startswith("rate_limiter")]
    assert [note for note in answer.notes if "rate_limiter" in note]


def test_a_load_on_an_unknown_device_cannot_be_judged() -> None:
    """Whether it fits is half a question about the disk."""
    nowhere = explain(explained.database(), None, AT)

    with pytest.raises(NoAnswer, match="the device under orders is not known"):
        what_if(nowhere, Change(), parse_load("+1", "1h"), {"m": device_or_cpu})


def test_both_models_answer_for_a_settled_tree() -> None:
    """From the inputs alone, as a saved file holds them."""
    models = rate_models()
    answers = {name: model(explained.INPUTS) for name, model in models.items()}

    assert set(answers) == {"simulator", "bottleneck"}
    for answer in answers.values():
        assert isinstance(answer, Answer)
        assert answer.bottleneck == "device_write"
        assert 10_000.0 < answer.puts_per_second < 30_000.0


def test_an_unsettled_simulation_is_called_rough() -> None:
    """The ratio may still tell."""

    def rough(inputs: ModelInputs) -> Answer:
        return dataclasses.replace(device_or_cpu(inputs), settled=False)

    assert "the simulation did not settle: rough figures" in (
        what_if(explanation(), Change(), None, {"rough": rough}).notes
    )


def test_a_run_that_disagrees_with_the_daemon_s_own_is_noted() -> None:
    """15,705 by hand, 19,469 by the daemon."""
    notes = asked(Change(wal=False)).notes

    assert (
        "bottleneck gives 15,705 puts/s here and gave the daemon 19,469: the ratio is of the runs "
        "here"
    ) in notes


def test_the_text_is_the_answer_in_words() -> None:
    """Change, rates, limit, assumptions."""
    text = plain(asked(Change(device_bytes_per_second=2 * explained.DEVICE, max_background_jobs=8)))

    assert text.splitlines()[:10] == [
        "orders",
        "  background jobs: 1 flush + 3 compaction -> 2 + 6",
        "  device: 95.4 MiB/s (100.0 MB/s) -> 190.7 MiB/s (200.0 MB/s), everyone's writes",
        "  published S_max 20,248 puts/s (bottleneck), at present 6,120 puts/s",
        "",
        "  model           before       after   ratio       90 % interval after",
        "  bottleneck      20,248      40,908    2.02         35,728 to 46,919",
        "    limit: device_write, as before",
        "    written per put at saturation: 6,240 B -> 6,240 B (compaction 6,240 B ->",
        "    6,240 B)",
    ]
    assert text.splitlines()[-4:-2] == [
        "  - assumed for rate_limiter: no limit beyond the device (OPTIONS do not hold",
        "    its rate)",
    ]


def test_no_line_is_wider_than_a_terminal() -> None:
    """With a load and every section."""
    text = plain(asked(Change(compression="zstd", value_bytes=100.0, wal=False), "x40"))

    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ("+1000", "+1000 for 4h: 7,120 puts/s, it can be sustained"),
        ("=20000", "=20000 for 4h: 20,000 puts/s, it may or may not be sustained"),
        ("=90000", "=90000 for 4h: 90,000 puts/s, it cannot be sustained"),
    ],
)
def test_the_load_s_verdict_is_in_plain_words(load: str, words: str) -> None:
    """Below, within and above the interval."""
    assert words in plain(asked(Change(), load)).splitlines()


def test_a_known_key_space_tells_how_much_of_a_load_is_new() -> None:
    """All keys are stored already, so the disk holds though new keys would fill it."""
    known = explanation()
    assert known.inputs is not None
    costs = msgspec.structs.replace(known.inputs.costs, key_space_bytes=1e9)
    known = msgspec.structs.replace(
        known, inputs=msgspec.structs.replace(known.inputs, costs=costs)
    )
    load = parse_load("+10000", "4h")
    planned = what_if(known, Change(), load, {"bottleneck": device_or_cpu}).load
    assert planned is not None
    assert [use.new_key_ratio for use in planned.disk] == [0.0]
    assert planned.disk_fits is True


def test_a_load_says_when_the_disk_is_full_and_what_that_depends_on() -> None:
    """Overwrites need no room, new keys do; 40 GiB are free."""
    text = plain(asked(Change(), "+10000"))

    assert "  disk: it depends on how many keys are new" in text.splitlines()
    assert "only new keys: grows by 227" in text
    assert "full after" in text
