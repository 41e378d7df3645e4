"""Refusals: every one of the core's has a response code, and a remark that a person can read."""

import pytest

from core import errors as core_errors
from core.errors import BrokerError
from protocols.remoting.codes import Response
from protocols.remoting.errors import REMARK_BYTES_MAX, RESPONSES, remark_bytes, translate


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_refusal_of_the_core_has_a_response_code():
    refusals = {kind for kind in subclasses(BrokerError) if kind.__module__ == core_errors.__name__} - {BrokerError}
    assert len(refusals) >= 9
    assert refusals == RESPONSES.keys()
    assert Response.SUCCESS not in RESPONSES.values()


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (core_errors.NotFound, 17),
        (core_errors.AccessRefused, 16),
        (core_errors.LoginRefused, 16),
        (core_errors.PreconditionFailed, 29),
        (core_errors.NotSupported, 3),
        (core_errors.LimitReached, 1),
        (BrokerError, 1),
    ],
)
def test_a_refusal_is_a_code_and_the_cores_own_words(refusal, code):
    class Narrower(refusal):
        pass

    for kind in (refusal, Narrower):
        refused = translate(kind("no such luck"))
        assert (refused.code, refused.remark) == (code, "no such luck")


def test_a_remark_has_a_bound_and_whole_characters():
    assert remark_bytes("é" * REMARK_BYTES_MAX).decode() == "é" * (REMARK_BYTES_MAX // 2)
    assert remark_bytes("half \ud800 pair") == b"half \\ud800 pair"
