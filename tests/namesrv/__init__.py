"""The name server: its tables, its requests, its process, and RocketMQ's own broker and tools with it."""
