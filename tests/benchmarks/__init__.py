"""The benchmark: our engine and others at the same pretend portal. `make bench` or `python -m tests.benchmarks --quick`."""
