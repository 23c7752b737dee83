"""Channels to real receivers that are slow, down, back, or wrong; time is the test's own."""

import math
import threading
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from agent.delivery.answer import Answer
from agent.delivery.circuit import OPENS_AFTER_FAILURES
from agent.delivery.notification_channel import NotificationChannel
from agent.delivery.queue import Queue
from agent.delivery.senders import AlertmanagerSender, WebhookSender
from agent.delivery.settings import AlertmanagerSettings, WebhookSettings
from agent.delivery.state_channel import StateChannel
from agent.delivery.wire import RESEND_SECONDS, Origin
from probes.clock import Clock, SystemClock
from tests.unit.delivery_samples import WALL, TestClock, alert, notification
from tests.unit.http_receiver import Receiver, eventually, receiving

ORIGIN = Origin({"job": "smaxd"}, "http://db1:10390/")
HOUR = 3600.0


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def webhook(
    receiver: Receiver,
    clock: Clock,
    lines: LogCapture,
    *,
    limit: int = 100,
    give_up_seconds: float = 24 * HOUR,
    timeout_seconds: float = 10.0,
    queue: Queue | None = None,
    predecessor: NotificationChannel | None = None,
) -> NotificationChannel:
    sender = WebhookSender(WebhookSettings(receiver.url), "hook", ORIGIN, timeout_seconds, {})
    return NotificationChannel(
        "hook",
        sender,
        clock,
        structlog.wrap_logger(None, processors=[lines]),
        limit=limit,
        give_up_seconds=give_up_seconds,
        queue=queue,
        predecessor=predecessor,
        uniform=lambda: 0.5,
    )


def alertmanager(receiver: Receiver, clock: TestClock, lines: LogCapture) -> StateChannel:
    sender = AlertmanagerSender(AlertmanagerSettings(receiver.url), ORIGIN, 10.0, {})
    return StateChannel(
        "am", sender, clock, structlog.wrap_logger(None, processors=[lines]), uniform=lambda: 0.5
    )


def live(channel: NotificationChannel | StateChannel, clock: TestClock, seconds: float) -> None:
    """What the channel's thread does in so many seconds, without their passing."""
    until = clock.now + seconds
    while True:
        wait = channel.step()
        if clock.now + wait > until:
            clock.now = until
            return
        clock.now += wait


def ids(receiver: Receiver) -> list[str]:
    return [one.headers["webhook-id"] for one in receiver.requests]


def events(lines: LogCapture) -> list[str]:
    return [entry["event"] for entry in lines.entries]


def test_notifications_arrive_once_and_in_their_order(
    receiver: Receiver, lines: LogCapture
) -> None:
    """The usual day."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines)
    channel.offer([notification("a"), notification("b")])
    live(channel, clock, 60.0)
    channel.offer([notification("a")])
    live(channel, clock, 60.0)

    assert ids(receiver) == ["a", "b"]
    status = channel.status()
    assert (status.outcomes["delivered"], status.queue_length, status.attempts) == (2, 0, 2)
    assert status.last_success_wall_seconds is not None
    assert events(lines) == []


def test_a_receiver_that_answers_500_for_an_hour_loses_nothing_and_hears_nothing_twice(
    receiver: Receiver, lines: LogCapture
) -> None:
    """It is asked seldom meanwhile, and the log has a few lines, not one for each attempt."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines)
    receiver.status = 500
    for number in range(60):
        channel.offer([notification(str(number), alert(db=f"db{number}"))])
        live(channel, clock, 60.0)
    asked = len(receiver.requests)
    status = channel.status()
    assert (status.queue_length, status.circuit_open) == (60, True)
    assert status.outcomes["retried"] == asked
    assert 20 < asked < 60

    receiver.status = 200
    receiver.requests.clear()
    live(channel, clock, 300.0)

    assert ids(receiver) == [str(number) for number in range(60)]
    assert not channel.status().circuit_open
    assert events(lines) == ["delivery_failing", "delivery_circuit_opened", "delivery_recovered"]


def test_retry_after_is_heeded(receiver: Receiver, lines: LogCapture) -> None:
    """A receiver that says when it wants to be asked again is not asked before."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines)
    receiver.status, receiver.answer_headers = 429, {"Retry-After": "50"}
    channel.offer([notification("a")])
    live(channel, clock, 49.0)
    assert len(receiver.requests) == 1

    receiver.status = 200
    live(channel, clock, 2.0)

    assert len(receiver.requests) == 2
    assert channel.status().outcomes["delivered"] == 1


def test_what_is_rejected_is_logged_counted_and_not_sent_again(
    receiver: Receiver, lines: LogCapture
) -> None:
    """And does not stand in the way of what follows."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines)
    receiver.status, receiver.answer = 400, b"no such channel"
    channel.offer([notification("a")])
    live(channel, clock, HOUR)
    receiver.status = 200
    channel.offer([notification("b")])
    live(channel, clock, 1.0)

    assert ids(receiver) == ["a", "b"]
    assert channel.status().outcomes["rejected"] == 1
    assert events(lines) == ["notification_rejected"]
    assert "no such channel" in lines.entries[0]["detail"]


def test_a_receiver_that_never_recovers_is_given_up_for_each_notification(
    receiver: Receiver, lines: LogCapture
) -> None:
    """Nothing is tried for ever."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines, give_up_seconds=HOUR)
    receiver.status = 503
    channel.offer([notification("a", wall=clock.wall())])
    live(channel, clock, HOUR + 300.0)

    assert (channel.status().outcomes["expired"], channel.status().queue_length) == (1, 0)
    assert "notification_expired" in events(lines)


def test_a_wall_clock_that_is_set_forward_gives_nothing_up(
    receiver: Receiver, lines: LogCapture
) -> None:
    """At a boot the clock may be decades off, and the receiver not be reachable yet."""
    clock = TestClock(wall=1000.0)
    channel = webhook(receiver, clock, lines)
    receiver.status = 503
    channel.offer([notification("a", wall=clock.wall())])
    live(channel, clock, 60.0)
    clock.set_wall(WALL)
    channel.offer([notification("b", wall=clock.wall())])
    live(channel, clock, HOUR)
    receiver.status = 200
    receiver.requests.clear()
    live(channel, clock, 300.0)

    assert ids(receiver) == ["a", "b"]
    assert "expired" not in channel.status().outcomes


def test_what_is_old_already_is_tried_once_at_least(receiver: Receiver, lines: LogCapture) -> None:
    """The agent was off for a week, and the receiver is back meanwhile; or it is not."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines)
    channel.offer([notification("a", wall=clock.wall() - 7 * 24 * HOUR)])
    live(channel, clock, 1.0)
    receiver.status = 503
    channel.offer([notification("b", wall=clock.wall() - 7 * 24 * HOUR)])
    live(channel, clock, 1.0)

    assert ids(receiver) == ["a", "b"]
    assert (channel.status().outcomes["delivered"], channel.status().outcomes["expired"]) == (1, 1)


def test_a_full_queue_drops_what_later_ones_replace_and_counts_it(
    receiver: Receiver, lines: LogCapture
) -> None:
    """Of five reminders about one alert, the last one is enough."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines, limit=2)
    receiver.status = 500
    channel.offer([notification(str(number), kind="repeated") for number in range(5)])
    receiver.status = 200
    live(channel, clock, 60.0)

    assert ids(receiver) == ["3", "4"]
    assert channel.status().outcomes["dropped"] == 3
    assert events(lines) == ["notifications_dropped"]


def test_what_an_earlier_run_delivered_is_not_repeated(
    receiver: Receiver, lines: LogCapture
) -> None:
    """The engine offers again what it does not know to be settled."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines, queue=Queue(settled=("a",)))
    channel.offer([notification("a"), notification("b")])
    live(channel, clock, 1.0)

    assert ids(receiver) == ["b"]


def test_alertmanager_is_sent_the_alerts_again_and_again(
    receiver: Receiver, lines: LogCapture
) -> None:
    """As long as they fire: once a minute, as Prometheus does."""
    clock = TestClock()
    channel = alertmanager(receiver, clock, lines)
    for _ in range(18):
        channel.offer((alert(),))
        live(channel, clock, 10.0)

    assert len(receiver.requests) == 1 + 180 / RESEND_SECONDS


def test_alertmanager_is_told_at_once_what_began_or_ended(
    receiver: Receiver, lines: LogCapture
) -> None:
    """A change does not wait for the minute."""
    clock = TestClock()
    channel = alertmanager(receiver, clock, lines)
    for active in (
        (alert(),),
        (alert(), alert(db="users")),
        (alert(ends=clock.wall()), alert(db="users")),
    ):
        channel.offer(active)
        live(channel, clock, 1.0)

    assert [len(one.json) for one in receiver.requests] == [1, 2, 2]


def test_alertmanager_is_sent_nothing_where_nothing_is_to_be_told(
    receiver: Receiver, lines: LogCapture
) -> None:
    """Neither before the first alert nor after the last one."""
    clock = TestClock()
    channel = alertmanager(receiver, clock, lines)
    assert channel.step() == math.inf
    channel.offer((alert(),))
    live(channel, clock, 1.0)
    channel.offer(())
    live(channel, clock, HOUR)

    assert len(receiver.requests) == 1


def test_an_alertmanager_that_was_down_is_told_how_things_stand(
    receiver: Receiver, lines: LogCapture
) -> None:
    """Not what it missed: an alert that came and went meanwhile is over."""
    clock = TestClock()
    channel = alertmanager(receiver, clock, lines)
    receiver.status = 500
    channel.offer((alert(db="gone"),))
    live(channel, clock, HOUR)
    channel.offer((alert(),))
    receiver.status = 200
    receiver.requests.clear()
    live(channel, clock, 200.0)

    assert [alerts["labels"]["db"] for alerts in receiver.requests[0].json] == ["orders"]
    assert channel.status().queue_length == 0


def test_an_alertmanager_that_rejects_is_complained_about_once(
    receiver: Receiver, lines: LogCapture
) -> None:
    """It is sent the same alerts every minute; the log is not."""
    clock = TestClock()
    channel = alertmanager(receiver, clock, lines)
    receiver.status = 400
    channel.offer((alert(),))
    live(channel, clock, HOUR)

    assert events(lines) == ["notification_rejected"]
    assert channel.status().outcomes["rejected"] == HOUR / RESEND_SECONDS + 1


def test_the_thread_delivers_what_is_offered(receiver: Receiver, lines: LogCapture) -> None:
    """Without anybody calling step."""
    channel = webhook(receiver, SystemClock(), lines)
    channel.start()
    channel.offer([notification("a")])
    eventually(lambda: ids(receiver) == ["a"], "the first one")
    channel.offer([notification("b")])
    eventually(lambda: ids(receiver) == ["a", "b"], "the second one")
    channel.close()
    channel.join(10.0)

    assert not [one for one in threading.enumerate() if one.name == "to hook"]


def test_an_offer_does_not_wait_for_a_receiver_that_hangs(
    receiver: Receiver, lines: LogCapture
) -> None:
    """Nor does the end: the attempt is cut off, is no failure, and stays to be told."""
    arrived, go = threading.Event(), threading.Event()

    def hang() -> None:
        arrived.set()
        go.wait(30.0)

    receiver.before_answer = hang
    channel = webhook(receiver, SystemClock(), lines, timeout_seconds=60.0)
    channel.start()
    channel.offer([notification("a")])
    assert arrived.wait(20.0)
    channel.offer([notification("b")])
    waiting = channel.status().queue_length
    channel.close()
    channel.join(10.0)
    still_running = [one for one in threading.enumerate() if one.name == "to hook"]
    go.set()

    assert waiting == 2
    assert still_running == []
    assert [one.identity for one in channel.queue.pending] == ["a", "b"]
    assert events(lines) == []


def test_a_channel_that_takes_anothers_place_waits_for_its_attempt_and_repeats_nothing(
    receiver: Receiver, lines: LogCapture
) -> None:
    """A reload while a slow receiver takes its time to accept; the rest is told by the new one."""
    arrived, go = threading.Event(), threading.Event()

    def take_time() -> None:
        arrived.set()
        go.wait(30.0)

    receiver.before_answer = take_time
    old = webhook(receiver, SystemClock(), lines, timeout_seconds=60.0)
    old.start()
    old.offer([notification("a"), notification("b")])
    assert arrived.wait(20.0)
    new = webhook(receiver, SystemClock(), lines, predecessor=old)
    new.start()
    new.offer([notification("c")])
    waiting = [one.identity for one in new.queue.pending]
    go.set()
    eventually(lambda: not new.queue.pending, "the rest")
    for channel in (new, old):
        channel.close()
        channel.join(10.0)

    assert waiting == ["a", "b", "c"]
    assert ids(receiver) == ["a", "b", "c"]


def test_a_channel_that_waits_for_its_predecessor_can_be_closed(
    receiver: Receiver, lines: LogCapture
) -> None:
    """The agent stops right after a reload; what was cut off is told by its next run."""
    arrived, go = threading.Event(), threading.Event()

    def hang() -> None:
        arrived.set()
        go.wait(30.0)

    receiver.before_answer = hang
    old = webhook(receiver, SystemClock(), lines, timeout_seconds=60.0)
    old.start()
    old.offer([notification("a")])
    assert arrived.wait(20.0)
    new = webhook(receiver, SystemClock(), lines, predecessor=old)
    new.start()
    new.close()
    new.join(10.0)
    still_running = [one for one in threading.enumerate() if one.name == "to hook"]
    go.set()

    assert still_running == []
    assert [one.identity for one in new.queue.pending] == ["a"]


def test_a_defect_costs_the_channel_a_while_and_not_its_thread(lines: LogCapture) -> None:
    """The log has its traceback once, and it is tried again like any other failure."""

    class Broken:
        def __init__(self) -> None:
            self.tried = 0

        def send(self, *_: object) -> Answer:
            self.tried += 1
            if self.tried <= 3:
                raise RuntimeError("a bug")
            return Answer("delivered", "")

        def abort(self) -> None:
            """Nothing is under way."""

    clock, sender = TestClock(), Broken()
    channel = NotificationChannel(
        "hook",
        sender,
        clock,
        structlog.wrap_logger(None, processors=[lines]),
        limit=10,
        give_up_seconds=HOUR,
        uniform=lambda: 0.5,
    )
    channel.offer([notification("a")])
    live(channel, clock, 60.0)

    assert channel.status().outcomes == {"dropped": 0, "retried": 3, "delivered": 1}
    assert events(lines) == ["delivery_defect", "delivery_failing", "delivery_recovered"]


def test_the_circuit_needs_failures_in_a_row(receiver: Receiver, lines: LogCapture) -> None:
    """One that fails now and then is left alone by nobody."""
    clock = TestClock()
    channel = webhook(receiver, clock, lines)
    for number in range(2 * OPENS_AFTER_FAILURES):
        receiver.status = 500
        channel.offer([notification(str(number))])
        channel.step()
        clock.now += 5.0
        receiver.status = 200
        channel.step()
        assert not channel.status().circuit_open

    assert channel.status().outcomes["delivered"] == 2 * OPENS_AFTER_FAILURES
