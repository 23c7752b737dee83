"""The state of each alert, computed from (settings, previous state, observation, now): pure.

Invariants:
- an alert begins only after its value was beyond the threshold for the whole ``for_seconds``;
- it ends only when a value is seen back beyond ``clear``: data that vanished never ends an alert;
- a value between ``threshold`` and ``clear`` changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.alerts.rules import RULE_OF, Observation, RuleSettings

AlertKey = tuple[str, str, str, str]
"""What identifies an alert across ticks: its name, severity, database and device."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """One alert on one subject: the labels are those of ``smax_alert_active``.

    ``alert`` is the name that people see, which several rules may share: its severity tells which.
    ``value`` is the last one seen, ``data_missing`` says that it cannot be seen now.
    ``since_wall_seconds`` is when the alert began, None while it is only pending or inactive.
    """

    alert: str
    severity: str
    database: str
    device: str
    active: bool
    pending_since: float | None
    since_wall_seconds: float | None
    value: float | None
    data_missing: bool
    summary: str

    @property
    def key(self) -> AlertKey:
        """What identifies the alert across ticks."""
        return key_of(self.alert, self.severity, self.database, self.device)


def key_of(alert: str, severity: str, database: str, device: str) -> AlertKey:
    """What identifies an alert with these labels."""
    # A database's device is a label only: were it part of the key, an alert that began while the
    # device was unknown would never be observed again, and so never end.
    return (alert, severity, database, "" if database else device)


def advance(
    settings: Mapping[str, RuleSettings],
    previous: Iterable[AlertState],
    observations: Iterable[Observation],
    now: float,
    wall_seconds: float,
) -> tuple[AlertState, ...]:
    """The states after this tick, sorted by key.

    A subject that is not observed any more keeps its active alert, marked ``data_missing``; its
    inactive one is dropped.
    """
    before = {state.key: state for state in previous}
    after: dict[AlertKey, AlertState] = {}
    for observation in observations:
        rule = settings[observation.rule]
        key = key_of(
            observation.alert, observation.severity, observation.database, observation.device
        )
        if rule.enabled:
            after[key] = _step(rule, before.get(key), observation, now, wall_seconds)
    for key, state in before.items():
        rule = settings[RULE_OF[state.alert, state.severity]]
        if key not in after and state.active and rule.enabled:
            after[key] = _unseen(state, state.device)
    return tuple(after[key] for key in sorted(after))


def _step(
    rule: RuleSettings,
    state: AlertState | None,
    observation: Observation,
    now: float,
    wall_seconds: float,
) -> AlertState:
    if state is None:
        state = AlertState(
            alert=observation.alert,
            severity=observation.severity,
            database=observation.database,
            device=observation.device,
            active=False,
            pending_since=None,
            since_wall_seconds=None,
            value=None,
            data_missing=False,
            summary="",
        )
    device = observation.device or state.device
    value = observation.value
    if value is None:
        return _unseen(state, device)
    beyond = value <= rule.threshold if observation.worse_is_lower else value >= rule.threshold
    back = value >= rule.clear if observation.worse_is_lower else value <= rule.clear
    active, since, pending_since = state.active, state.since_wall_seconds, state.pending_since
    if not beyond:
        pending_since = None
    elif pending_since is None:
        pending_since = now
    if not active and pending_since is not None and now - pending_since >= rule.for_seconds:
        active, since = True, wall_seconds
    elif active and back and not beyond:
        active, since = False, None
    return AlertState(
        alert=state.alert,
        severity=state.severity,
        database=state.database,
        device=device,
        active=active,
        pending_since=pending_since,
        since_wall_seconds=since,
        value=value,
        data_missing=False,
        summary=observation.summary,
    )


def _unseen(state: AlertState, device: str) -> AlertState:
    """Without data an active alert stays; a pending one starts over, for nothing is known."""
    return AlertState(
        alert=state.alert,
        severity=state.severity,
        database=state.database,
        device=device,
        active=state.active,
        pending_since=None,
        since_wall_seconds=state.since_wall_seconds,
        value=state.value,
        data_missing=True,
        summary=state.summary,
    )
