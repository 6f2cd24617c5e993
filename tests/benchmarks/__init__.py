"""Compares the speed of the engine with other clients. `make bench` runs it and writes docs/benchmarks.md."""
