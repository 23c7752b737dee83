"""Joins gate, channels and record: what the alert engine hands its notifications to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from agent.alerts.notice import AlertNotice, Notification
from agent.delivery.gate import Gate, pass_on, settled
from agent.delivery.notification_channel import NotificationChannel
from agent.delivery.queue import Queue
from agent.delivery.receiver_files import file_problems
from agent.delivery.record import DeliveryRecord, GateRecord
from agent.delivery.record_file import RecordSaver
from agent.delivery.scrapers import ScraperView, Scrapes, view
from agent.delivery.senders import AlertmanagerSender, SenderTools, sender_for
from agent.delivery.settings import (
    DeliverySettings,
    FallbackSettings,
    Receiver,
    channel_name,
    receivers,
)
from agent.delivery.state_channel import StateChannel
from agent.delivery.status import DeliveryStatus
from agent.state_file import StateFile
from probes.clock import Clock
from probes.command import CommandRunner

Logger = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, slots=True)
class DeliveryTools:
    """What delivery stands on. ``instance`` is HOST:PORT by which a scraper knows this agent."""

    clock: Clock
    log: Logger
    environ: Mapping[str, str]
    instance: str
    runner: CommandRunner
    scrapes: Callable[[], Scrapes]


def channel_for(
    receiver: Receiver,
    settings: DeliverySettings,
    tools: DeliveryTools,
    queue: Queue,
    on_settled: Callable[[], None],
    predecessor: NotificationChannel | None = None,
) -> "AnyChannel":
    """The channel to a receiver, not started."""
    sender = sender_for(
        receiver, settings, SenderTools(tools.environ, tools.instance, tools.runner)
    )
    name = channel_name(receiver)
    if isinstance(sender, AlertmanagerSender):
        return StateChannel(name, sender, tools.clock, tools.log)
    return NotificationChannel(
        name,
        sender,
        tools.clock,
        tools.log,
        limit=settings.queue_length,
        give_up_seconds=settings.give_up_seconds,
        queue=queue,
        predecessor=predecessor,
        on_settled=on_settled,
    )


class Delivery:
    """An ``AlertSink``. All but ``status`` is called by one thread, that of the tick."""

    def __init__(
        self,
        settings: DeliverySettings,
        tools: DeliveryTools,
        record_file: StateFile[DeliveryRecord],
    ) -> None:
        self._tools = tools
        self._settings = DeliverySettings()
        self._started_at = tools.clock.monotonic()
        self._channels: Mapping[str, AnyChannel] = {}
        self._gate = Gate()
        self._unsettled: dict[str, None] = {}
        self._was_absent = False
        self._record: DeliveryRecord | None = None
        self._record_file = record_file
        self._saver = RecordSaver(record_file, self._to_be_kept)
        self.configure(settings)

    def configure(self, settings: DeliverySettings) -> None:
        """Deliver by these settings from now on; a channel that stays the same goes on as it is."""
        if settings == self._settings:
            return
        if settings.mode != "off" and self._record is None:
            self._record = self._record_file.load()
            self._gate = _gate_of(self._record.gate, self._tools.clock)
            self._saver.start(self._record)
        if settings.mode != "off":
            self._tell_of_files(settings)
        wanted = (
            {channel_name(one): one for _, one in receivers(settings)}
            if settings.mode != "off"
            else {}
        )
        before, self._settings = self._settings, settings
        unchanged = _common(before) == _common(settings) and before.mode != "off"
        were = {channel_name(one): one for _, one in receivers(before)}
        channels: dict[str, AnyChannel] = {}
        for name, receiver in wanted.items():
            old = self._channels.get(name)
            if old is not None and unchanged and were[name] == receiver:
                channels[name] = old
            else:
                channels[name] = self._channel(receiver, old)
        for name, old in self._channels.items():
            new = channels.get(name)
            if type(new) is not type(old):
                self._remove(old)
            elif new is not old and isinstance(old, StateChannel):
                old.close()
        started = [one for name, one in channels.items() if one is not self._channels.get(name)]
        self._channels = channels
        for channel in started:
            channel.start()

    def offer(
        self, notifications: tuple[Notification, ...], active: tuple[AlertNotice, ...]
    ) -> None:
        """Take what is new to tell, and all alerts as they stand now."""
        settings = self._settings
        scraper = self._scraper()
        if settings.mode == "fallback" and scraper.absent != self._was_absent:
            log = self._tools.log
            (log.warning if scraper.absent else log.info)(
                "scraper_absent" if scraper.absent else "scraper_back",
                seconds_since=scraper.seconds_since,
            )
        self._was_absent = scraper.absent
        before = self._gate
        self._gate, passed = pass_on(
            before,
            settings.mode,
            scraper,
            settings.fallback.handover_seconds,
            notifications,
            active,
            self._tools.clock.monotonic(),
        )
        for channel in self._channels.values():
            if isinstance(channel, StateChannel):
                channel.offer(passed.active)
            elif passed.notifications:
                channel.offer(passed.notifications)
        # Not before the channels have them: a defect up to here must settle nothing.
        self._unsettled.update((one.identity, None) for one in notifications)
        if self._gate != before:
            self._saver.wake()

    def settled(self) -> frozenset[str]:
        """Identities of offered notifications that need no more work; each is told once."""
        waiting = {one.notification.identity for one in self._gate.held}
        for channel in self._channels.values():
            if isinstance(channel, NotificationChannel):
                waiting.update(one.identity for one in channel.queue.pending)
        done = self._unsettled.keys() - waiting
        for identity in done:
            del self._unsettled[identity]
        if done:
            self._gate = settled(self._gate, done)
            self._saver.wake()
        return frozenset(done)

    def status(self) -> DeliveryStatus | None:
        """How it stands; None while nothing is to be delivered."""
        if self._settings.mode == "off":
            return None
        channels = sorted(self._channels.values(), key=lambda channel: channel.name)
        return DeliveryStatus(
            tuple(channel.status() for channel in channels), self._scraper().absent
        )

    def retire(self) -> None:
        """Begin no more attempts, and wait for none: those under way go on until ``close``.

        Whoever ends the agent's programs calls it first: an attempt that a program was to make is
        no failure of its receiver.
        """
        for channel in self._channels.values():
            channel.retire()

    def close(self, wait_seconds: float) -> None:
        """End all attempts and keep what was told; what was not is offered anew by the next run."""
        give_up = self._tools.clock.monotonic() + wait_seconds
        for channel in self._channels.values():
            channel.close()
        for channel in self._channels.values():
            channel.join(max(0.0, give_up - self._tools.clock.monotonic()))
        self._saver.close(max(0.0, give_up - self._tools.clock.monotonic()))

    def _scraper(self) -> ScraperView:
        fallback = self._settings.fallback
        return view(
            self._tools.scrapes(),
            self._tools.clock.monotonic(),
            self._started_at,
            fallback.absent_intervals,
            fallback.startup_grace_seconds,
        )

    def _channel(self, receiver: Receiver, old: "AnyChannel | None") -> "AnyChannel":
        """The channel to a receiver, with what the old one of this name has not told yet."""
        settled = self._record.settled.get(channel_name(receiver), ()) if self._record else ()
        return channel_for(
            receiver,
            self._settings,
            self._tools,
            Queue(settled=settled),
            self._saver.wake,
            old if isinstance(old, NotificationChannel) else None,
        )

    def _tell_of_files(self, settings: DeliverySettings) -> None:
        for problem in file_problems(settings, self._tools.environ):
            self._tools.log.warning("delivery_file_unusable", problem=problem)

    def _remove(self, old: "AnyChannel") -> None:
        old.close()
        waiting = old.status().queue_length
        if waiting:
            self._tools.log.warning(
                "delivery_channel_removed", channel=old.name, undelivered=waiting
            )

    def _to_be_kept(self) -> DeliveryRecord:
        gate, clock = self._gate, self._tools.clock
        channels = self._channels.values()
        since_back = None if gate.back is None else clock.monotonic() - gate.back
        return DeliveryRecord(
            gate=GateRecord(
                passed=gate.passed,
                told=gate.told,
                pushing=gate.pushing,
                sent=gate.sent,
                back_wall_seconds=None if since_back is None else round(clock.wall() - since_back),
            ),
            settled={
                channel.name: channel.queue.settled
                for channel in channels
                if isinstance(channel, NotificationChannel)
            },
        )


AnyChannel = NotificationChannel | StateChannel


def _gate_of(record: GateRecord, clock: Clock) -> Gate:
    back = record.back_wall_seconds
    return Gate(
        passed=record.passed,
        told=record.told,
        pushing=record.pushing,
        sent=record.sent,
        back=None if back is None else clock.monotonic() - max(0.0, clock.wall() - back),
    )


def _common(settings: DeliverySettings) -> DeliverySettings:
    """The settings that all channels share."""
    return msgspec.structs.replace(
        settings,
        mode="off",
        fallback=FallbackSettings(),
        alertmanagers=(),
        webhooks=(),
        apprise=(),
    )
