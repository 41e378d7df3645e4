"""Selectors: the language in which consumers say which messages they want, by their properties.

It is RocketMQ's SQL92 filter (apache/rocketmq, filter/.../SelectorParser.jj) with what JMS 2.0 section 3.8.1 has beside
it: LIKE, ESCAPE and arithmetic. A property that is missing is NULL, and logic has three values, as in SQL: a message is
selected only by TRUE. Properties are mostly text; text that is compared with a number is read as one, and where that
cannot be, as wherever two values cannot be compared, the outcome is NULL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from core.routing import conditions
from core.routing.conditions import COMPARISONS, LONG_MAX, TEXT_TESTS, Get, Value

TEXT_MAX = 16 << 10  # characters
DEPTH_MAX = 32  # of parentheses, of what stands in front of a value, and of comparisons of comparisons
CACHED = 256  # selectors: clients say theirs with every heartbeat

TOKEN = re.compile(
    r"""(?P<space>[ \t\n\r\f]+|--[^\n\r]*|/\*.*?\*/)
    |(?P<float>\d+\.\d*(?:E[+-]?\d+)?|\.\d+(?:E[+-]?\d+)?|\d+E[+-]?\d+)
    |(?P<decimal>(?:0|[1-9]\d*)L?)(?![\w$])
    |(?P<string>'(?:''|[^'])*')
    |(?P<quoted>"(?:""|[^"])+")
    |(?P<word>[A-Z_$][\w$]*)
    |(?P<sign><>|<=|>=|[=<>(),+*/-])""",
    re.ASCII | re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
TESTS = (*TEXT_TESTS, "BETWEEN", "IN", "LIKE")  # may stand behind NOT
WORDS = frozenset(("AND", "OR", "NOT", "IS", "NULL", "TRUE", "FALSE", "ESCAPE", *TESTS))
NULL, BOOLEAN, NUMERIC, STRING, PROPERTY = "NULL", "a boolean", "a number", "a string", "a property"


class SelectorError(ValueError):
    """A text that is no selector. The message says what is wrong and where, in characters from 0."""


class Token(NamedTuple):
    """kind: a group of TOKEN, "end", or for a reserved word "reserved"; text: of a reserved word in capitals."""

    kind: str
    text: str
    at: int


class Part(NamedTuple):
    """A part of the selector that has a value; `kind`: what is known of it without a message. constant: what it always
    is, if it is the same for all."""

    value: Value
    kind: str
    constant: Any = None


class Selector:
    """text, and what it needs to know of a message: the names of properties."""

    def __init__(self, text: str, value: Value, names: frozenset[str]):
        self.text = text
        self.names = names
        self._value = value

    def matches(self, get: Get) -> bool:
        """Whether it selects the message whose properties get(name) tells: str, int, float or bool, None = missing."""
        return self._value(get) is True


@lru_cache(CACHED)
def parse(text: str) -> Selector:
    """The selector that the text says. Raises SelectorError."""
    if len(text) > TEXT_MAX:
        raise SelectorError(f"a selector of {len(text)} characters; at most {TEXT_MAX} are taken")
    parser = _Parser(text)
    value = parser.whole()
    return Selector(text, value, frozenset(parser.names))


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise SelectorError(f"at {at}: {text[at : at + 20]!r} is no part of a selector")
        kind, piece = str(found.lastgroup), found.group()
        if kind == "word" and piece.upper() in WORDS:
            yield Token("reserved", piece.upper(), at)
        elif kind != "space":
            yield Token(kind, piece, at)
        at = found.end()
    yield Token("end", "the end", at)


class _Parser:
    """Recursive descent. OR binds least, then AND, NOT, comparisons, + and -, * and /, signs."""

    def __init__(self, text: str):
        self._rest = _tokens(text)
        self._token = next(self._rest)
        self._depth = 0
        self.names: set[str] = set()

    def whole(self) -> Value:
        """All of it."""
        part = self._either()
        if self._token.kind != "end":
            raise self._unexpected("AND, OR or the end")
        return self._boolean(part)

    def _take(self, *texts: str) -> str:
        """The token's text, and go on, if it is one of these signs or reserved words; else nothing."""
        token = self._token
        if token.kind in ("sign", "reserved") and token.text in texts:
            self._token = next(self._rest)
            return token.text
        return ""

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(text)

    def _string(self) -> str:
        token = self._token
        if token.kind != "string":
            raise self._unexpected("a 'string'")
        self._token = next(self._rest)
        return token.text[1:-1].replace("''", "'")

    def _unexpected(self, wanted: str) -> SelectorError:
        return SelectorError(f"at {self._token.at}: {self._token.text} where {wanted} is expected")

    def _deeper(self, inner: Callable[[], Part]) -> Part:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise SelectorError(f"at {self._token.at}: it is nested more than {DEPTH_MAX} deep")
        part = inner()
        self._depth -= 1
        return part

    def _boolean(self, part: Part) -> Value:
        """It stands where TRUE or FALSE is wanted."""
        if part.kind in (BOOLEAN, NULL):
            return part.value
        if part.kind != PROPERTY:
            raise self._wrong(part, "where a condition is expected")
        return conditions.truth(part.value)

    def _wrong(self, part: Part, why: str) -> SelectorError:
        return SelectorError(f"before {self._token.at}: {part.kind} {why}")

    def _either(self) -> Part:
        return self._chain("OR", self._both, conditions.any_of)

    def _both(self) -> Part:
        return self._chain("AND", self._negation, conditions.all_of)

    def _chain(self, word: str, inner: Callable[[], Part], joined: Callable[[list[Value]], Value]) -> Part:
        part = inner()
        if not self._take(word):
            return part
        values = [self._boolean(part), self._boolean(inner())]
        while self._take(word):
            values.append(self._boolean(inner()))
        return Part(joined(values), BOOLEAN)

    def _negation(self) -> Part:
        if self._take("NOT"):
            return Part(conditions.negated(self._boolean(self._deeper(self._negation))), BOOLEAN)
        return self._comparison()

    def _comparison(self) -> Part:
        left = self._sum()
        for _ in range(DEPTH_MAX):
            if sign := self._take(*COMPARISONS):
                value = self._compared(sign, left, self._sum())
            elif self._take("IS"):
                contrary = self._take("NOT")
                self._need("NULL")
                value = conditions.is_null(left.value)
                value = conditions.negated(value) if contrary else value
            elif name := self._take("NOT", *TESTS):
                value = self._test(left, name)
            else:
                return left
            left = Part(value, BOOLEAN)
        raise self._unexpected(f"no further comparison, behind {DEPTH_MAX},")

    def _compared(self, sign: str, left: Part, right: Part) -> Value:
        for part in (left, right):
            if part.kind == NULL or sign not in conditions.EQUALITY and part.kind in (BOOLEAN, STRING):
                raise self._wrong(part, f"cannot be compared by {sign}")
        return conditions.compared(sign, left.value, right.value)

    def _test(self, left: Part, name: str) -> Value:
        contrary = name == "NOT"
        if contrary and not (name := self._take(*TESTS)):
            raise self._unexpected("IN, LIKE, BETWEEN or CONTAINS")
        if name in TEXT_TESTS:
            return conditions.text_test(name, left.value, self._string(), contrary)
        if name == "BETWEEN":
            value = self._between(left)
        elif left.kind != PROPERTY:
            raise self._wrong(left, f"in front of {name}, where a property is expected")
        elif name == "IN":
            value = conditions.among(left.value, self._listed())
        else:
            value = self._like(left)
        return conditions.negated(value) if contrary else value

    def _between(self, left: Part) -> Value:
        low = self._sum()
        self._need("AND")
        high = self._sum()
        both = self._compared(">=", left, low), self._compared("<=", left, high)
        if low.constant is not None and high.constant is not None and low.constant > high.constant:
            raise SelectorError(f"before {self._token.at}: between {low.constant} and {high.constant} there is nothing")
        return conditions.all_of(both)

    def _like(self, left: Part) -> Value:
        pattern, escape = self._string(), ""
        if self._take("ESCAPE"):
            escape = self._string()
            if len(escape) != 1:
                raise SelectorError(f"before {self._token.at}: to escape by {escape!r}, which is not one character")
        return conditions.like(left.value, pattern, escape)

    def _listed(self) -> frozenset[str]:
        self._need("(")
        listed = [self._string()]
        while self._take(","):
            listed.append(self._string())
        self._need(")")
        return frozenset(listed)

    def _sum(self) -> Part:
        return self._numbers(("+", "-"), self._product)

    def _product(self) -> Part:
        return self._numbers(("*", "/"), self._signed)

    def _numbers(self, signs: tuple[str, str], inner: Callable[[], Part]) -> Part:
        first = inner()
        rest = []
        while sign := self._take(*signs):
            rest.append((sign, self._numeric(inner())))
        return Part(conditions.worked_out(self._numeric(first), rest), NUMERIC) if rest else first

    def _numeric(self, part: Part) -> Value:
        if part.kind not in (NUMERIC, PROPERTY):
            raise self._wrong(part, "where a number is expected")
        return part.value

    def _signed(self) -> Part:
        sign = self._take("+", "-")
        if not sign:
            return self._primary()
        part = self._deeper(self._signed)
        if sign == "+":
            return part
        if part.constant is not None and part.kind == NUMERIC:
            return _constant(-part.constant, NUMERIC)
        return Part(conditions.worked_out(lambda get: 0, [("-", self._numeric(part))]), NUMERIC)

    def _primary(self) -> Part:
        token = self._token
        if self._take("("):
            part = self._deeper(self._either)
            self._need(")")
            return part
        if word := self._take("TRUE", "FALSE", "NULL"):
            return _constant(None, NULL) if word == "NULL" else _constant(word == "TRUE", BOOLEAN)
        if token.kind == "string":
            return _constant(self._string(), STRING)
        if token.kind not in ("decimal", "float", "word", "quoted"):
            raise self._unexpected("a property or a value")
        self._token = next(self._rest)
        if token.kind in ("decimal", "float"):
            return _constant(self._number(token), NUMERIC)
        name = token.text[1:-1].replace('""', '"') if token.kind == "quoted" else token.text
        self.names.add(name)
        return Part(lambda get: get(name), PROPERTY)

    def _number(self, token: Token) -> float:
        if token.kind == "decimal":
            digits = token.text.rstrip("lL")
            if len(digits) <= 19 and int(digits) <= LONG_MAX:
                return int(digits)
        elif (value := float(token.text)) != float("inf"):
            return value
        raise SelectorError(f"at {token.at}: a number of {len(token.text)} characters: no long and no double holds it")


def _constant(value: Any, kind: str) -> Part:
    return Part(lambda get: value, kind, value)
