"""The facade as the host integrator sees it: a life of a database, with restarts."""

import math
from dataclasses import replace

import pytest

from agent.learning.labels import RawEstimate
from agent.learning.learning import DatabaseKey, LearnedView, Learning, raw_estimate, raw_prediction
from agent.learning.memory import MAX_ENTRIES, DeviceIdentity, LearnedState, decode, encode
from agent.learning.observation import EpisodeObservation
from agent.models.estimate import Estimate, MissingInput
from agent.models.v4 import predict

WALL = 1.7e9
DEVICE = DeviceIdentity("sda", 10**12, "disk")


class Host:
    """A database that sustains 20,000 puts/s, and models that say something else."""

    def __init__(self, remembered: LearnedState | None = None, at: float = 0.0) -> None:
        self.learning = Learning(remembered or LearnedState())
        self.key = DatabaseKey("/db", 1, DEVICE)
        self.at = at
        self.sequence = 0
        self.delayed = 0.0
        self.raw = {"v4": 2_000.0, "v4.1": 2_300.0, "bottleneck": 14_000.0}
        self.changes: dict[str, object] = {}

    def run(self, seconds: float, rate: float, delayed: float = 0.0) -> LearnedView:
        """Ten-second ticks; level 0 stands at its trigger while writes are delayed."""
        for n in range(round(seconds / 10)):
            self.at += 10
            self.sequence += round(rate * 10)
            self.delayed += 10 * delayed
            seen = EpisodeObservation(
                at=self.at,
                wall_seconds=WALL + self.at,
                sequence=self.sequence,
                sequence_source="wal",
                stalls=(),
                stall_seconds={"delayed": self.delayed, "stopped": 0.0},
                level0_files=(20 if delayed else 5) + n % 3,
                flushes=self.sequence // 60_000,
                options_key="o",
            )
            view = self.learning.update(
                self.key,
                replace(seen, **self.changes),  # type: ignore[arg-type]
                [
                    RawEstimate(model, rate, None if model[0] == "v" else 0.3, self.at)
                    for model, rate in self.raw.items()
                ],
                "middle",
            )
        return view

    def episode(self) -> LearnedView:
        """A load, then five minutes of saturation at 20,000 puts/s, then rest."""
        self.run(300, 6_000)
        self.run(300, 20_000, delayed=0.9)
        return self.run(700, 3_000)


def test_before_any_label_the_models_are_published_as_they_are() -> None:
    """With wide intervals, unverified; the measured model is recommended."""
    view = Host().run(60, 1_000)
    assert {name: e.puts_per_second for name, e in view.calibrated.items()} == Host().raw
    assert {e.confidence for e in view.calibrated.values()} == {"unverified"}
    assert view.recommended is not None
    assert view.recommended.model == "bottleneck"
    assert (view.episodes_total, view.accuracy_ratio, view.coverage_ratio) == (0, {}, None)


def test_one_episode_corrects_every_model() -> None:
    """Each by its own factor; the bottleneck model within 5 %."""
    view = Host().episode()
    assert view.episodes_total == 1
    assert view.calibrated["bottleneck"].puts_per_second == pytest.approx(20_000, rel=0.05)
    assert view.calibrated["v4"].puts_per_second == pytest.approx(20_000, rel=0.05)
    assert view.accuracy_ratio["bottleneck"] == pytest.approx(0.7)
    assert view.last_label is not None
    assert view.last_label.puts_per_second == pytest.approx(20_000)


def test_a_sustained_load_refutes_a_model_before_any_saturation() -> None:
    """Twenty minutes at 6,000 puts/s without a stall: V4's 2,000 cannot be."""
    host = Host()
    del host.raw["bottleneck"]
    view = host.run(1_300, 6_000)
    assert view.recommended is not None
    assert view.recommended.puts_per_second == pytest.approx(6_000, rel=0.05)
    assert (view.episodes_total, view.recommended.confidence) == (0, "unverified")


def test_a_bad_model_is_not_recommended() -> None:
    """The bottleneck model scatters by a factor of two, V4 has a constant bias."""
    host = Host()
    for n in range(8):
        host.raw["bottleneck"] = 14_000.0 * (2.0 if n % 2 else 0.7)
        view = host.episode()
    assert view.recommended is not None
    assert view.recommended.model in {"v4", "v4.1"}
    assert view.recommended.puts_per_second == pytest.approx(20_000, rel=0.05)


def test_what_was_learned_survives_a_restart() -> None:
    """And a reboot: the monotonic clock starts anew."""
    host = Host()
    for _ in range(3):
        before = host.episode()
    raw = encode(host.learning.memory(WALL + host.at))
    after = Host(decode(raw))
    after.changes = {"wall_seconds": WALL + host.at}
    view = after.run(20, 3_000)
    assert view.calibrated == before.calibrated
    assert view.episodes_total == 3
    assert view.recommended == before.recommended


def test_another_incarnation_keeps_the_labels_and_begins_a_new_episode() -> None:
    """Reopened: the sequence goes on, the stall seconds begin at nought."""
    host = Host()
    host.episode()
    host.key = replace(host.key, incarnation=2)
    host.delayed = 0.0
    view = host.run(60, 3_000)
    assert view.calibrated["bottleneck"].labels == 1


def test_the_same_path_on_another_device_starts_over() -> None:
    """And what was learned comes back with the device."""
    host = Host()
    host.episode()
    host.key = replace(host.key, device=DeviceIdentity("sdb", 2 * 10**12, "disk"))
    assert host.run(20, 3_000).calibrated["bottleneck"].labels == 0
    host.key = replace(host.key, device=replace_name(DEVICE, "nvme0n1"))
    assert host.run(20, 3_000).calibrated["bottleneck"].labels == 1


def test_what_was_learned_while_the_device_s_model_was_not_read_still_counts() -> None:
    """The same name and size, and now it says what it is."""
    host = Host()
    nameless = DeviceIdentity(DEVICE.name, DEVICE.size_bytes)
    host.key = replace(host.key, device=nameless)
    host.episode()
    host.learning.baseline(nameless, 5e8, WALL)
    again = Host(decode(encode(host.learning.memory(WALL + host.at))), at=host.at)
    assert again.run(20, 3_000).calibrated["bottleneck"].labels == 1
    assert again.learning.baseline(DEVICE, 1e8, WALL) == 5e8
    other = DeviceIdentity("sdb", DEVICE.size_bytes, "disk")
    again = Host(decode(encode(host.learning.memory(WALL + host.at))), at=host.at)
    again.key = replace(again.key, device=other)
    assert again.run(20, 3_000).calibrated["bottleneck"].labels == 0
    assert again.learning.baseline(other, 1e8, WALL) == 1e8


def replace_name(device: DeviceIdentity, name: str) -> DeviceIdentity:
    return DeviceIdentity(name, device.size_bytes, device.model)


def test_only_news_are_worth_saving() -> None:
    """Hours without an episode write nothing."""
    host = Host()
    host.run(500, 1_000)
    assert host.learning.revision == 0
    host.episode()
    learned = host.learning.revision
    assert learned > 0
    host.run(3_000, 1_000)
    assert host.learning.revision == learned


def test_an_episode_is_news_when_it_is_counted_and_when_it_is_over() -> None:
    """How it goes on is not: a kill costs at most a minute of that."""
    host = Host()
    host.run(300, 6_000)
    urgent, revisions = set(), set()
    for rate, delayed in ((20_000, 0.9),) * 60 + ((3_000, 0.0),) * 70:
        counted = host.run(10, rate, delayed).episodes_total
        urgent.add(host.learning.urgent_revision)
        revisions.add(host.learning.revision)
        assert (host.learning.urgent_revision > 0) == (counted > 0)
    assert max(urgent) == max(revisions)
    assert len(urgent - {0}) == 2
    assert len(revisions) > 3


def test_a_capacity_that_was_measured_is_news() -> None:
    """Where it is the best."""
    learning = Learning(LearnedState())
    for rate, news in ((1e8, 1), (5e7, 1), (2e8, 2)):
        learning.baseline(DEVICE, rate, WALL)
        assert learning.urgent_revision == learning.revision == news


def test_a_database_that_is_not_watched_any_more_stays_in_the_memory() -> None:
    """It may come back."""
    host = Host()
    host.episode()
    host.learning.forget("/db")
    (entry,) = host.learning.memory(WALL + host.at).databases
    assert (entry.path, entry.episodes_total, len(entry.labels)) == ("/db", 1, 1)
    assert host.run(20, 3_000).calibrated["bottleneck"].labels == 1


@pytest.mark.parametrize(("others", "labels"), [(MAX_ENTRIES - 1, 1), (MAX_ENTRIES, 0)])
def test_databases_that_come_and_go_for_ever_are_not_all_kept(others: int, labels: int) -> None:
    """Each under a path of its own: those that left first are forgotten, as they are when saved."""
    host = Host()
    host.episode()
    host.learning.forget("/db")
    home = host.key
    for number in range(others):
        host.key = replace(home, path=f"/jobs/{number}/db")
        host.run(10, 1_000)
        host.learning.forget(host.key.path)
    host.key = home
    assert host.run(20, 3_000).calibrated["bottleneck"].labels == labels


def test_predictions_that_are_no_rate_are_left_out() -> None:
    """Zero, infinity and NaN have no logarithm."""
    host = Host()
    host.raw |= {"v4": 0.0, "v4.1": math.inf, "simulator": math.nan}
    assert host.run(20, 1_000).calibrated.keys() == {"bottleneck"}


def test_the_best_capacity_of_a_device_is_remembered() -> None:
    """By model and size; a worse measurement does not replace it."""
    host = Host()
    assert host.learning.baseline(DEVICE, None, WALL) is None
    assert host.learning.baseline(DEVICE, 1e8, WALL) == 1e8
    assert host.learning.baseline(DEVICE, 5e7, WALL + 10) == 1e8
    again = Learning(decode(encode(host.learning.memory(WALL + 20))))
    assert again.baseline(replace_name(DEVICE, "sdz"), None, WALL + 30) == 1e8


def test_an_estimate_with_a_fallback_is_not_complete() -> None:
    """It may still speak where nothing better does."""
    missing = MissingInput("rate limiter", "not in OPTIONS", "none assumed")
    estimate = Estimate("bottleneck", 1.0, 0.4, (), (), "log", 5.0)
    assert raw_estimate(estimate) == RawEstimate("bottleneck", 1.0, 0.4, 5.0)
    assert raw_estimate(replace(estimate, missing=(missing,))).complete is False


def test_the_published_models_claim_no_width() -> None:
    """Theirs is the documented one."""
    prediction = predict(1000.0, phase="middle")
    raw = raw_prediction(prediction, 3.0)
    assert raw == RawEstimate("v4", prediction.puts_per_second, None, 3.0)
