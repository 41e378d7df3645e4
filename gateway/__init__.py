"""The process around the core: configuration, listeners, sockets, HTTP. The only place that owns sockets."""

import core  # noqa: F401  first: it chooses whether compiled modules may be used
