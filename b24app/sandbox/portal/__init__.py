"""A portal itself: its tables, clock, knobs, logs and demo data. The other rooms stand on this one."""
