"""Bitrix24 portals and their authorization server in miniature, to develop and test against.

A separate process (`python -m b24app.sandbox`), which can be deleted: it and the app import nothing of each other.
They meet only over HTTP.

The rooms, each of which imports only those above it (tests/sandbox/test_rooms.py):

  portal    a portal itself: tables, clock, knobs, logs, demo data
  app       an app at a portal: tokens, events, openings, installation
  tasks     who may do what to a task, and how its status changes
  weather   faults, limits, modes
  wire      REST requests: hosts, parameters, checks, batches, answers
  methods   the REST methods               oauth     the authorization server
  desktop   the portal in the browser      control   the interface for tests

Two rooms on one line do not know each other.
"""
