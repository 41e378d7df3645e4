"""One trie for patterns over words: AMQP's `a.*.#` and MQTT's `a/+/#`.

A pattern is words between separators; as a whole word, `one` stands for exactly one word (an empty one too) and `many`
for any number of words, none included, wherever it stands. That MQTT has `#` only at the end is a matter of what is
added. An empty text has no word at all: only the empty pattern and `many` match it.

    add("a.*", x), add("a.#.c", y):    root - a - one: x
                                            `- many - c: y

A match walks the key word by word with the list of nodes reached so far. A `many` node, once reached, stays reached;
every other node is reached from its one parent only. So no node is met twice at the same word, and a match costs at
most nodes x words, whatever the patterns.
"""

from __future__ import annotations

import cython


@cython.final
@cython.cclass
class Node:
    """What follows the same words. children: literal word -> Node; values: the patterns that end here, in order of
    arrival; either is None until needed. seen: the walk that last reached it through `many`."""

    def __init__(self):
        self.children = None
        self.one = None
        self.many = None
        self.values = None
        self.seen = 0

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def is_empty(self) -> cython.bint:
        """Whether nothing ends here and nothing goes on."""
        return self.children is None and self.one is None and self.many is None and self.values is None


@cython.final
@cython.cclass
class TopicTrie:
    """Values by pattern. Values are hashable; the same value under the same pattern is one.

    node_count: nodes in memory, without the root; steps: nodes looked at by the last match, as a measure of its cost.
    """

    def __init__(self, separator: bytes = b".", one: bytes = b"*", many: bytes = b"#"):
        self._separator = separator
        self._one = one
        self._many = many
        self._root = Node()
        self._walk = 0
        self.node_count = 0
        self.steps = 0

    @cython.ccall
    def add(self, pattern: bytes, value: object):
        """Let `pattern` lead to `value`."""
        node: Node = self._root
        for word in self._words(pattern):
            node = self._next(node, word, True)
        if node.values is None:
            node.values = {}
        node.values[value] = None

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def remove(self, pattern: bytes, value: object) -> cython.bint:
        """Undo add(); False if it was not there. Nodes that lead nowhere any more are freed."""
        node: Node = self._root
        path: list = [node]
        words: list = self._words(pattern)
        for word in words:
            node = self._next(node, word, False)
            if node is None:
                return False
            path.append(node)
        if node.values is None or value not in node.values:
            return False
        del node.values[value]
        if not node.values:
            node.values = None
        while words and node.is_empty():
            path.pop()
            node = path[-1]
            self._unlink(node, words.pop())
        return True

    @cython.ccall
    def match(self, key: bytes) -> list:
        """The values of all patterns that match `key`, each once; literal words come before `one`, that before
        `many`, and values of one pattern in order of arrival."""
        node: Node
        child: Node
        active: list = [self._root]
        reached: list
        lasting: list = []  # the `many` nodes among them: they match every further word
        self._walk += 1
        self.steps = 0
        for word in self._words(key):
            self._admit_many(active, lasting)
            reached = []
            for node in active:
                if node.children is not None:
                    child = node.children.get(word)
                    if child is not None:
                        reached.append(child)
                if node.one is not None:
                    reached.append(node.one)
            reached.extend(lasting)
            if not reached:
                return reached
            active = reached
        self._admit_many(active, lasting)
        found: dict = {}
        for node in active:
            if node.values is not None:
                found.update(node.values)
        return list(found)

    @cython.cfunc
    def _admit_many(self, active: list, lasting: list):
        """Add to both lists the `many` nodes that the active ones lead to without a word, each once per walk."""
        node: Node
        for node in active:  # grows as we go: `many` may follow `many`
            if node.many is not None and node.many.seen != self._walk:
                node.many.seen = self._walk
                active.append(node.many)
                lasting.append(node.many)
        self.steps += len(active)

    @cython.cfunc
    def _words(self, text: bytes) -> list:
        return text.split(self._separator) if text else []

    @cython.cfunc
    def _next(self, node: Node, word: bytes, create: cython.bint) -> Node:
        """The node one word of a pattern further, or None; made when `create` asks for it."""
        child: Node = None
        if word == self._one:
            child = node.one
        elif word == self._many:
            child = node.many
        elif node.children is not None:
            child = node.children.get(word)
        if child is not None or not create:
            return child
        child = Node()
        self.node_count += 1
        if word == self._one:
            node.one = child
        elif word == self._many:
            node.many = child
        else:
            if node.children is None:
                node.children = {}
            node.children[word] = child
        return child

    @cython.cfunc
    def _unlink(self, parent: Node, word: bytes):
        """Free the node behind `word`, which leads nowhere."""
        self.node_count -= 1
        if word == self._one:
            parent.one = None
        elif word == self._many:
            parent.many = None
        else:
            del parent.children[word]
            if not parent.children:
                parent.children = None
