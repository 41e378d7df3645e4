"""One package per wire protocol. Each maps its verbs to the core; none knows another, none has a socket."""

import core  # noqa: F401  first: it chooses whether compiled modules may be used
