"""Telling receivers of alerts: Alertmanager, webhooks and whatever apprise knows.

Decisions (which alerts go to whom, when to try again, what a full queue loses) are pure;
``channel`` has the threads, ``http_post`` and ``apprise_sender`` the connections; ``delivery``
joins them.
"""
