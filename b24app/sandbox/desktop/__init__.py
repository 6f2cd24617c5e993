"""A portal in the browser: its pages and the frames of apps. This folder may be deleted."""
