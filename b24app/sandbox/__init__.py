"""Bitrix24 portals and their OAuth server in miniature, to develop and test against.

A process of its own (`python -m b24app.sandbox`), deletable: nothing here imports the app and the app
imports nothing from here; they meet only over HTTP.
"""
