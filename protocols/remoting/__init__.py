"""RocketMQ's remoting protocol, as its clients, brokers and tools speak it: frames, headers, codes, JSON bodies."""
