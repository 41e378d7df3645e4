"""A broker with a TLS listener, and pika's way to it."""

import ssl
from typing import NamedTuple

import pika

from tests.certificates import Authority, Pair
from tests.clients.broker import Broker, parameters


class Secure(NamedTuple):
    """A broker that listens with TLS, and the authority that issued its certificate and clients'."""

    broker: Broker
    authority: Authority
    pair: Pair

    @property
    def port(self) -> int:
        """The TLS port really bound."""
        return int(self.broker.addresses["amqps"].rpartition(":")[2])

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A client's context that trusts the authority and shows `pair`."""
        context = ssl.create_default_context(cafile=self.authority.file)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context

    def parameters(self, pair: Pair | None = None, **changes) -> pika.ConnectionParameters:
        """pika's parameters for the TLS port."""
        options = pika.SSLOptions(self.context(pair), "localhost")
        return parameters(self.broker, **({"port": self.port, "ssl_options": options} | changes))

    def metric(self, name: str) -> float:
        """A sample's value."""
        return self.broker.metric(name)


def tls_settings(pair: Pair, **more: object) -> list[str]:
    """The options of a broker with a TLS listener."""
    settings = {"cert": pair.cert, "key": pair.key, **more}
    return ["listeners.amqps=127.0.0.1:0"] + [f"tls.{name}={value}" for name, value in settings.items()]
