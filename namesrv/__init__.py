"""The name server: which brokers there are, and which topics they have. Several of them know nothing of each other."""

import core  # noqa: F401  first: it chooses whether compiled modules may be used
