"""What this version does not carry out is refused by name, never silently ignored."""

import pika
import pytest

pytestmark = pytest.mark.ours


def test_an_exchange_argument_of_a_later_version_is_refused(connection, name):
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as refusal:
        connection.channel().exchange_declare(name, "x-delayed-message", arguments={"x-delayed-type": "direct"})
    assert refusal.value.reply_code == 503
