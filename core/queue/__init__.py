"""Queues: the index of units, the cursor over it, and the consumers that share it."""
