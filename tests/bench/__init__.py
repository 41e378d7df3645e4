"""Benchmarks of the broker, alone and beside a peer: `python -m tests.bench` (what `make bench` calls)."""
