"""One trie for AMQP patterns and MQTT filters, held against the plain definition of a match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.routing.topic_trie import TopicTrie


def words(text, separator=b"."):
    return text.split(separator) if text else []


def naive_match(pattern, key, one=b"*", many=b"#"):
    """The definition: `many` is any number of words, `one` exactly one, all else itself."""
    if not pattern:
        return not key
    if pattern[0] == many:
        return any(naive_match(pattern[1:], key[skip:], one, many) for skip in range(len(key) + 1))
    return bool(key) and pattern[0] in (one, key[0]) and naive_match(pattern[1:], key[1:], one, many)


def texts(alphabet, separator=b"."):
    return st.lists(st.sampled_from(alphabet), max_size=6).map(separator.join)


PATTERNS = st.lists(texts([b"a", b"b", b"", b"*", b"#", b"a#", b"**"]), max_size=12)
KEYS = texts([b"a", b"b", b"", b"*", b"#"])


def trie_of(*patterns):
    trie = TopicTrie(b".", b"*", b"#")
    for pattern in patterns:
        trie.add(pattern, pattern)
    return trie


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (b"", [b""], [b".", b"a"]),
        (b"#", [b"", b"a", b".", b"a.b.c"], []),
        (b"*", [b"a", b"*"], [b"", b"a.b"]),
        (b"*.*", [b"a.b", b".", b"a."], [b"", b"a", b"a.b.c"]),
        (b"a.*.b", [b"a.x.b", b"a..b"], [b"a.b", b"a.x.y.b"]),
        (b"a.#", [b"a", b"a.b", b"a.b.c", b"a."], [b"", b"b", b"ab"]),
        (b"#.a", [b"a", b"b.a", b"a.a", b".a"], [b"", b"a.b", b"a."]),
        (b"a.#.b", [b"a.b", b"a.x.b", b"a.x.y.b", b"a.b.b"], [b"a", b"b", b"a.b.c"]),
        (b"#.#", [b"", b"a", b"a.b"], []),
        (b"#.*", [b"a", b"a.b"], [b""]),
        (b"*.#.*", [b"a.b", b"a.b.c"], [b"", b"a"]),
        (b"a*.b#", [b"a*.b#"], [b"ax.bx", b"a.b"]),
    ],
)
def test_amqp_words_and_wildcards_match_as_rabbitmq_says(pattern, matching, other):
    trie = trie_of(pattern)
    assert [key for key in matching if trie.match(key) != [pattern]] == []
    assert [key for key in other if trie.match(key)] == []


@given(PATTERNS, KEYS)
def test_a_match_is_what_the_definition_says(patterns, key):
    expected = {pattern for pattern in patterns if naive_match(words(pattern), words(key))}
    found = trie_of(*patterns).match(key)
    assert set(found) == expected and len(found) == len(expected)


@given(st.lists(texts([b"a", b"", b"+", b"b", b"*"], b"/"), max_size=9), texts([b"a", b"b", b"", b"*"], b"/"))
def test_mqtt_filters_use_the_same_trie_with_other_bytes(filters, topic):
    filters = [*filters, *(text + b"/#" for text in filters)]
    trie = TopicTrie(b"/", b"+", b"#")
    for text in filters:
        trie.add(text, text)
    expected = {text for text in filters if naive_match(words(text, b"/"), words(topic, b"/"), one=b"+")}
    assert set(trie.match(topic)) == expected


@given(PATTERNS, PATTERNS, KEYS)
def test_removing_a_pattern_leaves_the_others_and_no_node_of_its_own(kept, removed, key):
    trie = trie_of(*kept, *removed)
    for pattern in set(removed) - set(kept):
        assert trie.remove(pattern, pattern)
        assert not trie.remove(pattern, pattern)
    fresh = trie_of(*kept)
    assert set(trie.match(key)) == set(fresh.match(key))
    assert trie.node_count == fresh.node_count
    for pattern in set(kept):
        assert trie.remove(pattern, pattern)
    assert trie.node_count == 0 and trie.match(key) == []


def test_a_value_under_several_matching_patterns_is_found_once_and_removed_one_by_one():
    trie = TopicTrie()
    for pattern in (b"a.*", b"a.#", b"a.b", b"a.b"):
        trie.add(pattern, "queue")
    assert trie.match(b"a.b") == ["queue"]
    assert trie.remove(b"a.b", "queue") and not trie.remove(b"a.b", "queue")
    assert trie.remove(b"a.*", "queue") and trie.match(b"a.b") == ["queue"]
    assert trie.remove(b"a.#", "queue") and trie.match(b"a.b") == []


def test_values_come_in_an_order_that_other_patterns_do_not_change():
    trie = TopicTrie()
    for pattern, value in [(b"#", 1), (b"a.*", 2), (b"a.b", 3), (b"a.b", 4), (b"*.b", 5)]:
        trie.add(pattern, value)
    before = trie.match(b"a.b")
    assert before == [3, 4, 2, 5, 1]
    trie.add(b"a.c", 6)
    trie.add(b"#.b", 7)
    assert [value for value in trie.match(b"a.b") if value != 7] == before


def test_removing_what_was_never_added_changes_nothing():
    trie = trie_of(b"a.b.c")
    for pattern in (b"", b"a", b"a.b", b"a.b.c.d", b"a.*.c", b"#"):
        assert not trie.remove(pattern, pattern)
    assert not trie.remove(b"a.b.c", b"other")
    assert trie.match(b"a.b.c") == [b"a.b.c"] and trie.node_count == 3


@pytest.mark.parametrize("pattern", [b"#" + b".#" * 120, b"#.a" * 40 + b".b", b"#.*" * 40, b"#.a.*" * 30])
def test_patterns_made_to_explode_cost_at_most_nodes_times_words(pattern):
    key = b"a" + b".a" * 127
    trie = trie_of(pattern, b"#.z." + pattern)
    trie.match(key)
    assert trie.steps <= (trie.node_count + 1) * 129


def test_many_patterns_cost_only_what_the_key_reaches():
    trie = trie_of(*(b"site%d.sensor.*" % number for number in range(10_000)))
    assert trie.match(b"site77.sensor.heat") == [b"site77.sensor.*"]
    assert trie.steps == 4


def test_a_filter_of_thousands_of_levels_needs_no_deep_stack():
    levels = b"/".join([b"a"] * 30_000)
    trie = TopicTrie(b"/", b"+", b"#")
    trie.add(levels, 1)
    trie.add(b"#", 2)
    assert trie.match(levels) == [1, 2]
    assert trie.remove(levels, 1) and trie.node_count == 1
