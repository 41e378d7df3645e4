"""Programs on the AMQP clients of other languages, and how they are built."""
