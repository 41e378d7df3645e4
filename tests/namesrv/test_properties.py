"""Java's .properties text, as java.util.Properties.load reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from namesrv.properties import PropertiesError, file_text, lines, parse


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("listenPort=9876\nbindAddress = 127.0.0.1 \n", {"listenPort": "9876", "bindAddress": "127.0.0.1 "}),
        ("# comment\n  ! comment\n\n \t\na:b\nc d\ne", {"a": "b", "c": "d", "e": ""}),
        ("a=one\\\n   two\\\n\tthree\nb=x\\\\\nc=y", {"a": "onetwothree", "b": "x\\", "c": "y"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a\\ b\\=c=d\\te\\u00e9\\q=", {"a b=c": "d\teéq="}),
        ("a=1\na=2", {"a": "2"}),
        ("a===b", {"a": "==b"}),
        ("=x", {"": "x"}),
        ("a=\\#b\\\n#no comment", {"a": "#b#no comment"}),
        ("", {}),
        ("a=b\\", {"a": "b"}),
    ],
)
def test_what_java_reads(text, meant):
    assert parse(text) == meant


@pytest.mark.parametrize("text", ["a=\\u12", "a=\\u", "a\\uxyzw=1"])
def test_a_malformed_escape_is_refused(text):
    with pytest.raises(PropertiesError):
        parse(text)


def test_values_are_shown_as_java_shows_them():
    assert lines({"b": True, "a": 5, "c": "x\\y", "d": False}) == "a=5\nb=true\nc=x\\y\nd=false\n"


@given(st.dictionaries(st.text("abc", min_size=1, max_size=5), st.text("ab \\=:#!u0é", max_size=9)))
def test_what_is_written_to_a_file_is_read_back(values):
    values = {key: value.strip() for key, value in values.items()}
    assert parse(file_text(values)) == values


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        assert isinstance(parse(text), dict)
    except PropertiesError:
        assert "\\u" in text
