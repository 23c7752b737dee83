"""What a channel keeps for a receiver that does not answer."""

from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.notice import Notification
from agent.delivery.queue import KEPT_IDENTITIES, Queue
from tests.unit.delivery_samples import WALL, alert, notification


def identities(queue: Queue) -> list[str]:
    return [one.identity for one in queue.pending]


def test_what_is_offered_again_is_taken_once() -> None:
    """The engine offers the same change again after a crash."""
    queue, _ = Queue().take([notification("a")], 10)
    queue, dropped = queue.take([notification("a"), notification("b")], 10)

    assert (identities(queue), dropped) == (["a", "b"], 0)


def test_what_was_settled_is_not_taken_again() -> None:
    """Nothing that was delivered is repeated."""
    queue, _ = Queue().take([notification("a")], 10)
    queue, _ = queue.settle("a").take([notification("a")], 10)

    assert identities(queue) == []


def test_a_full_queue_loses_the_oldest_that_a_later_one_replaces() -> None:
    """A reminder is worth nothing beside a later one."""
    orders = [notification(f"o{i}", kind="repeated") for i in range(3)]
    users = notification("u", alert(db="users"))
    queue, dropped = Queue().take([users, *orders], 2)

    assert (identities(queue), dropped) == (["u", "o2"], 2)


def test_a_full_queue_never_loses_the_newest_word_about_an_alert() -> None:
    """It rather grows beyond its limit: there are only so many alerts."""
    offered = [notification(f"n{i}", alert(db=f"db{i}")) for i in range(5)]
    queue, dropped = Queue().take(offered, 2)

    assert (identities(queue), dropped) == ([f"n{i}" for i in range(5)], 0)


def test_what_was_dropped_is_not_taken_again() -> None:
    """After a restart the engine would offer it once more."""
    offered = [notification("a"), notification("b")]
    queue, _ = Queue().take(offered, 1)
    queue, dropped = queue.take(offered, 1)

    assert (identities(queue), dropped) == (["b"], 0)


def test_the_memory_of_what_was_told_is_bounded() -> None:
    """The newest are kept."""
    queue = Queue()
    for number in range(KEPT_IDENTITIES + 5):
        queue = queue.settle(str(number))

    assert len(queue.settled) == KEPT_IDENTITIES
    assert queue.settled[-1] == str(KEPT_IDENTITIES + 4)


offers = st.lists(
    st.builds(
        lambda number, databases: notification(
            str(number), *(alert(db=name) for name in sorted(databases)), wall=WALL + number
        ),
        st.integers(0, 40),
        st.sets(st.sampled_from("abcd"), min_size=1),
    ),
    max_size=40,
    unique_by=lambda one: one.identity,
)


@given(offers, st.integers(1, 10))
def test_every_alert_stays_in_the_queue_by_its_newest_notification(
    offered: list[Notification], limit: int
) -> None:
    """The invariant, whatever comes and however small the queue."""
    queue = Queue()
    for one in offered:
        queue, _ = queue.take([one], limit)

    newest = {a.fingerprint: one.identity for one in offered for a in one.alerts}
    assert set(newest.values()) <= set(identities(queue))
    assert len(queue.pending) <= max(limit, len(newest))
    assert identities(queue) == [one.identity for one in offered if one in queue.pending]
