"""The log: records, batches, the newest messages in memory, cold reads, recovery and retention."""
