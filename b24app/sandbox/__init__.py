"""Bitrix24 portals and their OAuth server in miniature, to develop and test against.

A process of its own (`python -m b24app.sandbox`), deletable: nothing here imports the app and the app
imports nothing from here; they meet only over HTTP.

Read in this order: rest (the transport) -> batch -> methods/ -> actions (what people do to tasks) -> rights (the
rules), timers and updates; oauth, authorize and tokens; openings, lifecycle and events (what a portal sends); knobs,
modes, limits, faults and clock (its weather); control and verbs (the interface for tests) and truth (the log);
desktop* and seed (the portal in the browser).
"""
