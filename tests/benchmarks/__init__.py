"""How fast the engine is, beside other clients. `make bench` runs it and writes docs/benchmarks.md."""
