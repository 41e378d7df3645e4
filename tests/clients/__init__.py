"""Real clients and raw sockets against a broker in a process of its own."""
