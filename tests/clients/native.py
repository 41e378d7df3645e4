"""A bare native client: requests as bytes, answers as (header, body)."""

from tests.namesrv.process import Client


def native(broker, listener="remoting", host="127.0.0.1"):
    """A connection to that listener of a broker."""
    return Client(int(broker.addresses[listener].rpartition(":")[2]), host)
