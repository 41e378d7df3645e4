"""Which queues a message enters: exchanges, their bindings, and the cached walk over them."""
