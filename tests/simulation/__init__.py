"""The whole core in one process under one seed: no threads, no sockets, no real time. See run.py."""
