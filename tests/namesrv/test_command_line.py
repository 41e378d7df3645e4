"""Options as commons-cli takes them, and what it prints."""

import pytest

from namesrv.command_line import UsageError, parse, usage
from namesrv.start import OPTIONS


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], {}),
        (["-c", "f", "-n", "a:1;b:2"], {"c": "f", "n": "a:1;b:2"}),
        (["--configFile", "f", "-p"], {"c": "f", "p": ""}),
        (["--configFile=f", "--printConfigItem"], {"c": "f", "p": ""}),
        (["-configFile", "f"], {"c": "f"}),
        (["-c=f"], {"c": "f"}),
        (["-cf"], {"c": "f"}),
        (["word", "-h", "word", "-"], {"h": ""}),
        (["--", "-x"], {}),
        (["-c", "f", "-c", "g"], {"c": "g"}),
    ],
)
def test_options_are_taken_in_every_form(words, found):
    assert parse(words, OPTIONS)[0] == found


def test_words_that_are_no_options_are_kept_in_their_order():
    assert parse(["a=1", "-c", "f", "b", "-", "--", "-x"], OPTIONS) == ({"c": "f"}, ["a=1", "b", "-", "-x"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bogus"], "Unrecognized option: --bogus"),
        (["extra", "-x"], "Unrecognized option: -x"),
        (["-c"], "Missing argument for option: c"),
        (["-c", "-p"], "Missing argument for option: c"),
        (["-p=1"], "Unrecognized option: -p=1"),
    ],
)
def test_what_is_not_understood_is_refused_in_its_words(words, said):
    with pytest.raises(UsageError, match=f"^{said}$"):
        parse(words, OPTIONS)


def test_the_usage_is_rocketmqs():
    assert usage("mqnamesrv", OPTIONS) == (
        "usage: mqnamesrv [-c <arg>] [-h] [-n <arg>] [-p]\n"
        " -c,--configFile <arg>    Name server config properties file\n"
        " -h,--help                Print help\n"
        " -n,--namesrvAddr <arg>   Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'\n"
        " -p,--printConfigItem     Print all config items"
    )
