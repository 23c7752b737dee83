"""The explanation: what it says is what the snapshot holds, in words that can be acted on."""

import dataclasses
import math
from pathlib import Path

import msgspec
import pytest

from agent.explain.explain import NOT_HEADING, explain, explain_document
from agent.explain.explanation import ExplainDocument, Explanation, UnknownDatabase, decode, encode
from agent.explain.sentence import LIMIT_WORDS, REMEDIES
from agent.explain.text import WIDTH, explanation_lines, plain
from agent.models.estimate import RESOURCES, MissingInput
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot
from probes.rocksdb.samples import StallCondition
from tests.unit import explained, snapshots
from tests.unit.snapshots import AT, WALL, known

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "explain.txt"


def explanation(database: DatabaseSnapshot | None = None) -> Explanation:
    return explain(database or explained.database(), explained.device(), AT + 2.0)


def test_the_text_is_the_golden_one() -> None:
    """Every section, at a glance; see ``tests.unit.explained`` for how to renew it."""
    assert explained.golden() == GOLDEN.read_text()


def test_no_line_is_wider_than_a_terminal() -> None:
    """Whatever the names are."""
    long = dataclasses.replace(
        explained.database(), pending_compaction_bytes=Missing("stale", "very long words " * 20)
    )
    lines = plain([explanation(long), explain(snapshots.lost_database(), None, AT)]).splitlines()

    assert max(map(len, lines)) <= WIDTH


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    """An error text is not ours."""
    odd = dataclasses.replace(
        explained.database(), pending_compaction_bytes=Missing("stale", "\x1b[2J gone")
    )
    text = "".join(text for line in explanation_lines(explanation(odd)) for text, _ in line)

    assert "\x1b" not in text


def test_the_sentence_names_limit_cost_position_and_remedy() -> None:
    """The share of compaction is the simulator's, at saturation."""
    assert explanation().sentence == (
        "Device-bound: at saturation a put costs 4,782 B of device writes, of which 56 % "
        "compaction; you are at 30 % of S_max (6,120 of 20,248 puts/s, 90 % sure between 18,600 "
        "and 22,100); 700.0 MiB of compaction debt clears in 4 min at this rate; fewer "
        "bytes per put (larger write buffers, higher level-0 triggers, compression) or a faster "
        "device lift it; the next limit would be cpu at 47,368 puts/s."
    )


def test_a_stall_in_force_comes_first() -> None:
    """What is wrong now is what to read first."""
    stalled = dataclasses.replace(
        explained.database(),
        stalls=Known((StallCondition("default", "delayed", "l0_files", WALL, None),), "log", AT),
    )

    assert explanation(stalled).sentence.startswith(
        "Writes are delayed now by l0_files of column family default. Device-bound: "
    )


def test_a_stall_ahead_is_said_with_its_time() -> None:
    """Infinite means not heading there."""
    heading = dataclasses.replace(explained.database(), time_to_stall_seconds=known(300.0))

    assert "; heading for a stall in 5 min; " in explanation(heading).sentence
    assert explanation(heading).time_to_stall_seconds.value == 300.0
    assert explanation().time_to_stall_seconds.value is None
    assert explanation().time_to_stall_seconds.detail == NOT_HEADING
    assert "heading" not in explanation().sentence


def test_debt_that_does_not_shrink_is_said() -> None:
    """A clearing time of infinity is the worst, not the best."""
    growing = dataclasses.replace(explained.database(), debt_clear_seconds=known(math.inf))

    assert "700.0 MiB of compaction debt that does not shrink" in explanation(growing).sentence


def test_an_unknown_s_max_says_why() -> None:
    """And nothing else is claimed."""
    lost = explain(snapshots.lost_database(), None, AT)

    assert lost.sentence == "S_max is unknown: /srv/idle does not exist."
    assert (lost.models, lost.confidence, lost.phase, lost.inputs) == ((), None, None, None)
    assert lost.puts_per_second.value is None


def test_the_published_formula_alone_claims_no_limit() -> None:
    """Before anything is measured the sentence says so."""
    sentence = explanation(explained.published_only()).sentence

    assert sentence.startswith("The limit is not measured yet (the published formula stands in): ")
    assert "you are at 203 % of S_max" in sentence


def test_a_limit_by_another_model_than_the_number_s_names_both() -> None:
    """The published formula may still be recommended while demands are measured already."""
    both = dataclasses.replace(
        explained.database(),
        recommended=explained.published_only().recommended,
        recommended_model="v4",
    )
    sentence = explanation(both).sentence

    assert "(6,120 of 3,008 puts/s by v4, 90 % sure between 301 and 30,077)" in sentence
    assert "; the bottleneck model puts that limit at 19,469 puts/s; " in sentence


def test_a_calibration_that_does_nothing_is_no_factor() -> None:
    """Before the first label there is nothing to show."""
    models = explanation(explained.published_only()).models

    assert "calibration" not in [factor.name for factor in models[0].factors]


def test_an_assumption_is_listed_once_by_name() -> None:
    """The simulator's reason may be a minute older than the inputs'."""
    older = dataclasses.replace(
        explained.BOTTLENECK, missing=(MissingInput("rate_limiter", "an older reason", "none"),)
    )
    database = dataclasses.replace(
        explained.database(), estimates=Known((older,), "log events", AT)
    )

    assert explanation(database).fallbacks == explained.INPUTS.missing


def test_every_resource_that_can_bind_has_words() -> None:
    """The names are the contract's."""
    assert set(LIMIT_WORDS) == set(REMEDIES) == set(RESOURCES)


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_limit_ends_in_something_to_do(resource: str) -> None:
    """And a limit without a runner-up ends there."""
    row = dataclasses.replace(explained.BOTTLENECK.resources[0], resource=resource)
    estimate = dataclasses.replace(explained.BOTTLENECK, resources=(row,))
    database = dataclasses.replace(
        explained.database(), estimates=Known((estimate,), "log events", AT)
    )

    assert explanation(database).sentence.startswith(LIMIT_WORDS[resource])
    assert explanation(database).sentence.endswith(f"{REMEDIES[resource]}.")


def test_the_recommended_model_comes_first_and_only_it_is_marked() -> None:
    """V4 and V4.1 always stand beside it."""
    assert [(m.model, m.recommended) for m in explanation().models] == [
        ("bottleneck", True),
        ("v4", False),
        ("v4.1", False),
    ]


def test_the_recommended_model_s_number_is_the_published_one() -> None:
    """What is explained is what is exported."""
    parts = explanation()

    assert parts.models[0].puts_per_second == parts.puts_per_second.value
    assert math.prod(f.value for f in parts.models[0].factors) == pytest.approx(
        parts.puts_per_second.value, rel=1e-14
    )


def test_the_terms_of_the_bandwidth_add_up_to_what_is_available() -> None:
    """Capacity, less others, less own compaction."""
    v4 = explanation().models[1]

    assert sum(term.value for term in v4.bandwidth_terms) == pytest.approx(explained.AVAILABLE)
    assert v4.bandwidth_terms[0].value == pytest.approx(explained.DEVICE)


def test_use_of_a_resource_is_unknown_without_a_put_rate() -> None:
    """Not zero."""
    blind = dataclasses.replace(
        explained.database(), observed_puts_per_second=Missing("stale", "too old")
    )

    assert [row.utilization_now for row in explanation(blind).models[0].demands] == [None, None]
    assert "the present rate is unknown" in explanation(blind).sentence


def test_the_votes_carry_what_was_voted_on() -> None:
    """Value, unit and rule of each voter."""
    phase = explanation().phase

    assert phase is not None
    assert [(v.voter, v.unit, v.phase) for v in phase.votes] == [
        ("bandwidth", "MiB/s", "final"),
        ("runtime", "min", "final"),
        ("size", "GB", "initial"),
    ]
    assert phase.votes[1].value == 1440.0
    assert phase.votes[2].value == pytest.approx(2.617, abs=0.001)


def test_the_confidence_counts_labels_and_what_they_prove() -> None:
    """Few labels prove little, and that is said; judged are also those before the last drift."""
    confidence = explanation().confidence

    assert confidence is not None
    assert (confidence.basis, confidence.labels, confidence.lower) == ("few labels", 3, 18_600.0)
    assert (
        "100 % of 5 episodes lay inside the interval given before (so few prove only 55 to 100 %)"
        in confidence.why
    )


def test_confidence_without_labels_is_called_a_prior() -> None:
    """No episode, no claim."""
    prior = dataclasses.replace(
        explained.CALIBRATED,
        labels=0,
        basis="prior",
        factor=1.0,
        accuracy_ratio=None,
        coverage_ratio=None,
        coverage_interval=None,
        widened=None,
        confidence="unverified",
    )
    database = dataclasses.replace(
        explained.database(),
        calibrated=Known((prior,), "log events", AT),
        recommended=Known(prior, "log events", AT),
    )
    confidence = explanation(database).confidence

    assert confidence is not None
    assert confidence.why[0] == (
        "no saturation of this database has been seen yet: the 90 % interval is a prior"
    )


def test_what_is_missing_has_its_reason_and_what_is_old_its_age() -> None:
    """Ages are those of the moment of asking."""
    parts = explanation()

    assert [(a.quantity, a.reason) for a in parts.missing] == [
        ("pending_compaction_bytes", "stale")
    ]
    assert parts.ages[0].age_seconds == 602.0
    assert parts.fallbacks == explained.INPUTS.missing


def test_the_document_survives_the_wire_whole() -> None:
    """An infinite model input too, which JSON does not have."""
    options = msgspec.structs.replace(
        explained.INPUTS.options, hard_pending_compaction_bytes_limit=math.inf
    )
    inputs = msgspec.structs.replace(explained.INPUTS, options=options)
    database = dataclasses.replace(explained.database(), inputs=Known(inputs, "test", AT))
    document = ExplainDocument("1.2.3", WALL, 2.0, (explanation(database), explanation()))

    assert decode(encode(document)) == document


def test_one_database_can_be_asked_for_by_name() -> None:
    """Else all of them."""
    snapshot = dataclasses.replace(
        snapshots.snapshot(), databases=(explained.database(), snapshots.lost_database())
    )
    one = explain_document(snapshot, AT, "/srv/idle")
    everything = explain_document(snapshot, AT)

    assert isinstance(one, ExplainDocument)
    assert [e.database for e in one.databases] == ["/srv/idle"]
    assert isinstance(everything, ExplainDocument)
    assert [e.database for e in everything.databases] == ["orders", "/srv/idle"]
    assert everything.databases[0].disk is not None
    assert everything.databases[0].disk.device == "nvme0n1"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """So that a typing error mends itself."""
    assert explain_document(snapshots.snapshot(), AT, "nope") == UnknownDatabase(
        "no database 'nope' is watched", ("orders", "/srv/idle")
    )
