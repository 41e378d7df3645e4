"""The whole core in one process under one seed: no threads, no sockets, no real time. `make simulate` runs many seeds."""
