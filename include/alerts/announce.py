"""Telling every channel once: which message a fault is due, where it goes, and what happens if it cannot be sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from include.alerts.alert import Alert, Severity
from include.alerts.book import Fault, FaultBook
from include.alerts.channels import Channel, DeliveryError
from include.alerts.message import Event, compose

log = logging.getLogger(__name__)

REMIND_AFTER = timedelta(days=7)
"""How long before a channel is reminded of a fault that lasts."""


class Announcer:
    """Announces faults and their end. No method raises: an alert must never break what it reports on.

    :param book: where open faults are kept between runs.
    :param channels: gives the channels of a severity.
    :param remind_after: a channel that was told this long ago is told again if the fault has been met since.
    """

    def __init__(
        self,
        book: FaultBook,
        channels: Callable[[Severity], Sequence[Channel]],
        *,
        remind_after: timedelta = REMIND_AFTER,
    ) -> None:
        self._book = book
        self._channels = channels
        self._remind_after = remind_after
        self._down: set[str] = set()
        """Channels that have just failed, so that one that hangs is waited for only once."""

    def report(self, alert: Alert) -> None:
        """Enter a fault in the book, and notify its channels unless they already know."""
        try:
            with self._book.locked(alert.fault_id) as held:
                if not held:
                    log.warning("Another task is sending the alert about %s right now: this one does not.", alert.place)
                    return
                self._tell(self._enter(alert))
            self.catch_up()
        except Exception:
            log.exception("The alert about %s was not sent.", alert.place)

    def resolve(self, ended: Callable[[Fault], bool], at: datetime) -> None:
        """Announce the end of faults to every channel that was told of them.

        :param ended: which faults; those met later than ``at`` are left as they are.
        """
        try:
            for fault in self._book.all():
                if fault.over_at is None and fault.alert.occurred_at <= at and ended(fault):
                    self._close(fault.fault_id, at)
            self.catch_up()
        except Exception:
            log.exception("The end of a fault was not announced.")

    def catch_up(self) -> None:
        """Send what could not be sent before."""
        try:
            for fault in self._book.all():
                if any(self._due(fault, channel.name) for channel in self._usable(fault)):
                    with self._book.locked(fault.fault_id, wait=False) as held:
                        latest = self._book.read(fault.fault_id) if held else None
                        if latest:
                            self._tell(latest)
        except Exception:
            log.exception("Alerts that are due were not sent.")

    def _enter(self, alert: Alert) -> Fault:
        """The fault as it stands now, even if the book cannot be written."""
        try:
            known = self._book.read(alert.fault_id)
            fault = known.met_again(alert) if known else Fault(alert=alert, first_at=alert.occurred_at)
            self._book.write(fault)
            return fault
        except Exception:
            log.exception("The artifact store cannot be used: the fault is announced, and may be announced again.")
            return Fault(alert=alert, first_at=alert.occurred_at)

    def _close(self, fault_id: str, at: datetime) -> None:
        with self._book.locked(fault_id) as held:
            fault = self._book.read(fault_id) if held else None
            if fault is None or fault.alert.occurred_at > at:
                return
            fault = fault.model_copy(update={"over_at": at})
            self._book.write(fault)
            self._tell(fault)

    def _tell(self, fault: Fault) -> None:
        """Send the fault's next message to every channel it is due to; the fault is locked meanwhile."""
        channels = self._channels(fault.alert.severity)
        if not channels and not fault.told:
            self._only_log(fault)
        for channel in self._usable(fault):
            if not self._due(fault, channel.name):
                continue
            event = Event.RECOVERY if fault.over_at else Event.REMINDER if channel.name in fault.told else Event.ALERT
            if self._send(channel, fault, event):
                others = {name: at for name, at in fault.told.items() if name != channel.name}
                told = others if event is Event.RECOVERY else {**others, channel.name: datetime.now(UTC)}
                fault = fault.model_copy(update={"told": told})
                self._keep(fault)
        if fault.over_at and not {channel.name for channel in channels} & set(fault.told):
            self._book.remove(fault.fault_id)
            log.info("Over: %s (%d runs).", fault.alert.place, fault.runs)

    def _send(self, channel: Channel, fault: Fault, event: Event) -> bool:
        try:
            channel.send(compose(fault, event))
        except Exception as error:
            self._down.add(channel.name)
            # Other errors than a DeliveryError may quote an address, and with it a token.
            reason = str(error) if isinstance(error, DeliveryError) else type(error).__name__
            log.warning(
                "The %s about %s could not be sent to %s and will be retried: %s",
                event,
                fault.alert.place,
                channel.name,
                reason,
            )
            return False
        log.info("Sent the %s about %s to %s.", event, fault.alert.place, channel.name)
        return True

    def _keep(self, fault: Fault) -> None:
        try:
            self._book.write(fault)
        except Exception:
            log.exception("Who was told of %s could not be recorded.", fault.alert.place)

    def _usable(self, fault: Fault) -> list[Channel]:
        return [item for item in self._channels(fault.alert.severity) if item.name not in self._down]

    def _due(self, fault: Fault, channel: str) -> bool:
        """Whether a channel should have a message about the fault now."""
        told_at = fault.told.get(channel)
        if fault.over_at:
            return told_at is not None
        if told_at is None:
            return True
        return fault.alert.occurred_at > told_at and datetime.now(UTC) - told_at >= self._remind_after

    def _only_log(self, fault: Fault) -> None:
        if fault.over_at or fault.runs > 1:
            return
        variable = f"PODSEARCH_ALERTS_{fault.alert.severity.upper()}"
        log.warning(
            "%s: %s Nobody was notified: name the Airflow connections for %s alerts in %s.",
            fault.alert.place,
            fault.alert.headline,
            fault.alert.severity,
            variable,
        )
