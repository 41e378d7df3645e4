"""Refusals: every one of the core's has a reply code; scope, prefix and length are as clients expect them."""

import pytest

from core import errors as core_errors
from core.errors import BrokerError
from protocols.amqp import errors
from protocols.amqp.errors import CHANNEL, CHANNEL_CLOSE, CONNECTION, CONNECTION_CLOSE, AmqpError, translate


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_refusal_of_the_core_has_a_reply_code():
    refusals = {kind for kind in subclasses(BrokerError) if kind.__module__ == core_errors.__name__} - {BrokerError}
    assert len(refusals) >= 9
    assert refusals == CHANNEL_CLOSE.keys() | CONNECTION_CLOSE.keys()
    assert set(CHANNEL_CLOSE.values()) <= errors.SOFT_CODES
    assert set(CONNECTION_CLOSE.values()) <= errors.CODE_NAMES.keys()


@pytest.mark.parametrize(
    ("refusal", "channel", "code", "scope"),
    [
        (core_errors.NotFound, 1, 404, CHANNEL),
        (core_errors.NotFound, 0, 404, CONNECTION),
        (core_errors.AccessRefused, 1, 403, CHANNEL),
        (core_errors.ResourceLocked, 3, 405, CHANNEL),
        (core_errors.PreconditionFailed, 1, 406, CHANNEL),
        (core_errors.NotAllowed, 1, 530, CONNECTION),
        (core_errors.NotAllowed, 0, 530, CONNECTION),
        (core_errors.CommandInvalid, 1, 503, CONNECTION),
        (core_errors.NotSupported, 1, 540, CONNECTION),
        (core_errors.LoginRefused, 0, 403, CONNECTION),
        (core_errors.LimitReached, 1, 406, CHANNEL),
        (core_errors.LimitReached, 0, 530, CONNECTION),
        (BrokerError, 1, 541, CONNECTION),
    ],
)
def test_a_refusal_closes_the_channel_or_the_connection_as_rabbitmq_does(refusal, channel, code, scope):
    error = translate(refusal("no such luck"), channel, 50, 10)
    assert (error.code, error.scope, error.class_id, error.method_id) == (code, scope, 50, 10)
    assert error.reply_text == str(error) == f"{errors.CODE_NAMES[code]} - no such luck"


def test_a_subclass_of_a_refusal_is_refused_like_its_base():
    class NoQueue(core_errors.NotFound):
        pass

    assert translate(NoQueue("no queue 'none' in vhost '/'"), 1).reply_text == (
        "NOT_FOUND - no queue 'none' in vhost '/'"
    )


def test_the_code_tells_the_scope_unless_it_is_given():
    assert AmqpError(406, "x").scope == CHANNEL
    assert AmqpError(540, "x").scope == CONNECTION
    assert AmqpError(403, "x", scope=CONNECTION).scope == CONNECTION


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (errors.FrameError, 501),
        (errors.SyntaxViolation, 502),
        (errors.TableError, 502),
        (errors.UnknownMethod, 503),
        (errors.ChannelError, 504),
        (errors.UnexpectedFrame, 505),
    ],
)
def test_what_breaks_the_protocol_closes_the_connection(fault, code):
    error = fault("seen", 60, 40)
    assert (error.code, error.scope, error.class_id, error.method_id) == (code, CONNECTION, 60, 40)


def test_a_reply_text_is_a_short_string_of_whole_characters():
    text = errors.reply_text(404, "é" * 200)
    assert text.startswith("NOT_FOUND - é")
    assert len(text.encode()) in (254, 255)
    assert len(errors.reply_text(404, "e" * 300).encode()) == 255
    assert errors.reply_text(404, "half \ud800 pair") == "NOT_FOUND - half \\ud800 pair"
    assert errors.reply_text(200, "") == "REPLY_SUCCESS"


def test_code_names_agree_with_the_clients():
    from amqp import exceptions  # py-amqp: code -> exception class

    for code, kind in exceptions.ERROR_MAP.items():
        assert code in errors.CODE_NAMES, kind
    import pamqp.exceptions

    for code, kind in pamqp.exceptions.CLASS_MAPPING.items():
        assert errors.CODE_NAMES[code] == kind.name.replace("-", "_")
        assert (code in errors.SOFT_CODES) == issubclass(kind, pamqp.exceptions.AMQPSoftError), kind
