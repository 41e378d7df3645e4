"""basic.publish on one channel: content assembly, routing with a memo, returns and confirms.

Confirms are coalesced: what may be confirmed at the end of a turn is one basic.ack with `multiple`, and what waits for
the disk is one mark per batch of the log. A message that waits for nothing behind one that does is acked by itself. One
that a full queue refused is nacked, at once, and no ack with `multiple` says otherwise of it later.
"""

from __future__ import annotations

import cython

from core.errors import AccessRefused, NotFound, PreconditionFailed
from core.routing.history import NO_STORE
from protocols.amqp import tables
from protocols.amqp.content import DELAY, Content, delay_of
from protocols.amqp.copies import copied_keys, without_bcc
from protocols.amqp.errors import AmqpError, SyntaxViolation, UnexpectedFrame
from protocols.amqp.methods import BasicReturn, encode
from protocols.amqp.properties import decode_properties, read_expiration

if cython.compiled:
    from cython.cimports.core.log.waiter import Waiter
    from cython.cimports.core.message import Message, new_message
    from cython.cimports.core.routing.exchange import Exchange
    from cython.cimports.core.routing.router import Route
    from cython.cimports.core.wire import rd16, rd64, same, take
    from cython.cimports.protocols.amqp.frames import FrameWriter
    from cython.cimports.protocols.amqp.properties import Scan, scan_properties
else:
    from core.log.waiter import Waiter
    from core.message import Message, new_message
    from core.routing.exchange import Exchange
    from core.routing.router import Route
    from core.wire import rd16, rd64, same, take
    from protocols.amqp.frames import FrameWriter
    from protocols.amqp.properties import Scan, scan_properties

NOTHING, EXPECT_HEADER, EXPECT_BODY = 0, 1, 2
NO_ROUTE = 312
PUBLISH = (60, 40)
DIRECT_REPLY_TO = b"amq.rabbitmq.reply-to"
NO_METHOD = "expected method frame, got non method frame instead"
HEADER_WANTED = "expected content header for class 60, got"
BODY_WANTED = "expected content body, got non content body frame instead"
DELAY_NAME = b"\x07x-delay"  # as a field begins
MESSAGE_BYTES = cython.declare(cython.Py_ssize_t, 256)  # what a message takes in memory beside its body, about


@cython.final
@cython.cclass
class Publishing(Waiter):
    """A channel's publishing side.

    expecting    NOTHING, EXPECT_HEADER or EXPECT_BODY
    transaction  holds what is published on a channel in tx mode; else None
    """

    def __init__(self, output: FrameWriter, channel: int, broker: object, session: tuple):
        Waiter.__init__(self)
        self.output = output
        self.channel = channel
        self.broker = broker
        self.publisher = broker.publisher
        self._flow = broker.flow
        self.log = broker.log
        self.vhost, self.user = session
        self.vhost_name = self.vhost.name.encode()
        self.router = self.vhost.router
        self.scan = Scan()
        self._memo = self._exchange = self._key = self._header = self._stored = self._unseen = b""
        self._copies = self._reply = None
        self._memo_version = -1
        self._size_max = broker.config.limits.message_bytes
        self._route = None
        self._exchange_found = None
        self.expecting = NOTHING
        self._mandatory = self._persistent = self.confirming = self._listed = False
        self._body_size = self._received = self._delay_ms = 0
        self._ttl_ms = -1
        self._delays_anywhere = broker.config.amqp.delay_anywhere
        self._body = None
        self._parts = None
        self.next_seq = 1
        self.acked = self._ready_hi = self._waited_hi = 0
        self._singles, self._refused, self._nacked = [], [], []
        self.transaction = None

    @cython.cfunc
    def begin(self, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """The method's arguments lie in b[at:end]: reserved u16, exchange, routing key (short strings), bits."""
        p: cython.p_uchar = b
        key_at: cython.Py_ssize_t = at + 3 + p[at + 2] if end - at >= 3 else end
        if key_at + 1 > end or key_at + 1 + p[key_at] + 1 != end:
            raise SyntaxViolation("basic.publish does not fill its frame", *PUBLISH)
        bits: cython.int = p[end - 1]
        if bits & 2:
            raise AmqpError(540, "immediate=true", *PUBLISH)
        self._mandatory = bits & 1
        # the router's version grows when permissions change, too
        if not same(b, at + 2, end - at - 3, self._memo) or self._memo_version != self.router.version:
            self._look_up(b, at + 2, key_at, end - 1)
        self.expecting = 1

    @cython.cfunc
    def _look_up(self, b: bytearray, at: cython.Py_ssize_t, key_at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Find the exchange, unless it is the last one, and forget the memo; its route follows with the header."""
        self._memo = b""
        if self._memo_version != self.router.version or not same(b, at + 1, key_at - at - 1, self._exchange):
            self._memo_version = -1
            self._find_exchange(take(b, at + 1, key_at - at - 1))
        self._key = take(b, key_at + 1, end - key_at - 1)
        found: Exchange = self._exchange_found
        if found.kind == "topic" and self.broker.access.has_topic_permissions:
            self._memo_version = -1
            self.broker.access.check_topic(self.user.name, self.vhost.name, found.name, self._key, "write")
        self._route = None
        self._memo = take(b, at, end - at)
        self._memo_version = self.router.version

    def _find_exchange(self, exchange: bytes) -> None:
        """The exchange of that name, which the user may write to."""
        try:
            name: str = exchange.decode()
        except UnicodeDecodeError:
            raise SyntaxViolation("exchange name is not UTF-8", *PUBLISH) from None
        self.broker.access.check(self.user.name, self.vhost.name, "exchange", name, "write")
        found = self.router.exchanges.get(name)
        if found is None:
            raise NotFound(f"no exchange '{name}' in vhost '{self.vhost.name}'")
        if found.internal:
            raise AccessRefused(f"cannot publish to internal exchange '{name}' in vhost '{self.vhost.name}'")
        self._exchange, self._exchange_found = exchange, found

    @cython.cfunc
    def header(self, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """A content header frame: class u16, weight u16, body size u64, property flags and list."""
        if self.expecting != 1:
            raise UnexpectedFrame(NO_METHOD if self.expecting == 0 else BODY_WANTED, *PUBLISH)
        if end - at < 14:
            raise SyntaxViolation("content header cut short", *PUBLISH)
        if rd16(b, at) != 60:
            raise UnexpectedFrame(f"{HEADER_WANTED} one for class {rd16(b, at)} instead", *PUBLISH)
        size: cython.ulonglong = rd64(b, at + 4)
        if size > cython.cast(cython.ulonglong, self._size_max):
            self.expecting = 0
            raise PreconditionFailed(f"message size {size} is larger than configured max size {self._size_max}")
        scan: Scan = self.scan
        scan_properties(b, at + 12, end, scan)
        self._persistent = scan.delivery_mode == 2
        self._ttl_ms = -1
        if scan.expiration_at >= 0:
            self._ttl_ms = read_expiration(bytes(b[scan.expiration_at : scan.expiration_at + scan.expiration_size]))
        if scan.user_id_at >= 0:
            self._check_user(bytes(b[scan.user_id_at : scan.user_id_at + scan.user_id_size]))
        if not same(b, at + 12, end - at - 12, self._header):
            self._header = self._stored = take(b, at + 12, end - at - 12)
            self._unseen = b""
            self._copies = None
            self._delay_ms = 0
            if scan.copies or scan.reply_to_size == 21:
                self._rewrite(scan)
            if scan.headers_at >= 0 and DELAY_NAME in self._header:
                self._delay_ms = delay_of(self._headers().get(DELAY))
        self._body_size = size
        self._received = 0
        self._body = b""
        self._parts = None
        if size == 0:
            self._complete()
        else:
            self.expecting = 2

    def _rewrite(self, scan: Scan) -> None:
        """The headers name more keys (CC, BCC), or replies are asked for here: what is stored is not what came."""
        header = stored = self._header
        self._header = b""  # should this fail, the next one like it is looked at again
        at = scan.reply_to_at - scan.origin
        if header[at : at + scan.reply_to_size] == DIRECT_REPLY_TO:
            if self._reply is None:
                raise PreconditionFailed("fast reply consumer does not exist")
            stored = header[: at - 1] + bytes([len(self._reply)]) + self._reply + header[at + scan.reply_to_size :]
        if scan.copies:
            self._copies = copied_keys(header, scan)
            stored, self._unseen = without_bcc(stored, scan)  # the headers lie before reply_to
        self._header, self._stored = header, stored

    def replies_go_to(self, token: bytes | None) -> None:
        """From now on the reply-to pseudo-queue stands for this token; None = for nothing."""
        self._reply = token
        self._header = b""

    def _check_user(self, claimed: bytes) -> None:
        """The user-id property must be the login's name (the RabbitMQ extension "validated user-id")."""
        name = claimed.decode("utf-8", "replace")
        if name != self.user.name and "impersonator" not in self.user.tags:
            raise PreconditionFailed(f"user_id property set to '{name}' but authenticated user was '{self.user.name}'")

    @cython.cfunc
    def body(self, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """A body frame."""
        if self.expecting != 2:
            raise UnexpectedFrame(
                NO_METHOD if self.expecting == 0 else f"{HEADER_WANTED} non content header frame instead", *PUBLISH
            )
        size: cython.Py_ssize_t = end - at
        self._received += size
        if self._received > self._body_size:
            raise UnexpectedFrame(f"body of {self._received} bytes exceeds the announced {self._body_size}", 60, 40)
        part: bytes = take(b, at, size)
        if self._received < self._body_size:
            if self._parts is None:
                self._parts = []
            if size:
                self._parts.append(part)
            return
        if self._parts is None:
            self._body = part
        else:
            self._parts.append(part)
            self._body = tuple(self._parts)
            self._parts = None
        self._complete()

    @cython.cfunc
    def _complete(self):
        """The content is whole: route it, store it, answer for it."""
        self.expecting = 0
        waits: cython.bint = self._delay_ms > 0 and (self._delays_anywhere or self._exchange_found.delayed)
        header: bytes = self._stored
        message: Message = new_message(
            self.vhost_name, self._exchange, self._key, b"" if header == b"\x00\x00" else header, self._body,
            self._body_size,
        )  # fmt: skip
        self._body = None
        message.persistent = self._persistent
        message.unseen = self._unseen
        if self._ttl_ms >= 0:  # counted from now: with 0 it reaches who waits for it, however late its body came
            message.expire_at = self.broker.clock.ms + self._ttl_ms
        self._flow.took(self._body_size + MESSAGE_BYTES)
        route: Route = self._route
        if waits:
            route = self.broker.delays.hold(message, self._delay_ms, self.vhost)
        elif self._delay_ms > 0 and self.router.delaying > 0:
            self._publish_delayed(message)
            return
        elif self._copies is not None:
            keys = (self._key, *self._copies)
            route = self.router.route_all(self._exchange_found, keys, self._headers, self)
        elif route is None or self._memo_version != self.router.version:
            route = self._route = self.router.known(self._exchange_found, self._key)
            if route is None:  # for the first time, or more than the key decides
                route = self.router.route(self._exchange_found, self._key, self._headers, self)
        if self.transaction is not None:
            self.transaction.publish(message, route, self._mandatory)
            return
        if route.histories is not None:
            self.remember(message, route.histories)
        result: cython.int = self.publisher.publish(message, route)
        if (result == 0 or result == 4) and self._mandatory:
            self.give_back(message)
        if self.confirming:
            self._confirm(result)

    def _headers(self) -> dict:
        """The message's headers table, decoded: asked for by a headers exchange only."""
        if self.scan.headers_at < 0:
            return {}
        at = self.scan.headers_at - self.scan.origin
        return tables.decode(self._stored, at, len(self._stored))[0]

    def _publish_delayed(self, message: Message) -> None:
        """It waits in those exchanges on its way that do so, and goes on from there; it is not given back then."""
        keys = (self._key, *(self._copies or ()))
        route: Route = self.router.route_delayed(self._exchange_found, keys, self._headers, self)
        going = self.broker.delays.on_the_way(message, route, self.vhost)
        if not going or route.queues or route.once or route.histories is not None:
            going.append((message, route))
        mandatory = self._mandatory and not route.waits
        if self.transaction is not None:
            for each, to in going:
                self.transaction.publish(each, to, mandatory)
            return
        if route.histories is not None:
            self.remember(message, route.histories)
        result = max([self.publisher.publish(each, to) for each, to in going])
        if mandatory and result in (0, 4):
            self.give_back(message)
        if self.confirming:
            self._confirm(result)

    def property_of(self, name: str) -> object:
        """A property of the message, or None: asked for by an exchange that hashes one."""
        return decode_properties(self._stored).get(name) if self._stored else None

    def remember(self, message: Message, histories: tuple) -> None:
        """The message went through exchanges with a history; its header may ask to be left out."""
        if Content(message.header).headers().get(NO_STORE) is not True:
            for history in histories:
                history.remember(message)

    def give_back(self, message: Message) -> None:
        """basic.return with the whole content, ahead of the confirm."""
        returned = BasicReturn(NO_ROUTE, "NO_ROUTE", message.exchange.decode(), message.routing_key)
        self.output.method(self.channel, encode(returned))
        self.output.content(self.channel, message)

    @cython.cfunc
    def _confirm(self, result: cython.int):
        """Give the message its number, and decide what its confirm waits for."""
        number: cython.longlong = self.next_seq
        self.next_seq = number + 1
        if result == 2 or result == 4:
            self._waited_hi = number
            if self.batch_no != self.log.batch_no:
                self.log.wait(self)
            return
        if result == 3:
            self._refused.append(number)
        if self._waited_hi <= self.acked:
            self._ready_hi = number
        elif result != 3:
            self._singles.append(number)
        self._list()

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def mark(self) -> cython.longlong:
        """The batch closes: the confirms it carries reach up to this number. See CommitLog.wait()."""
        return self._waited_hi

    @cython.ccall
    def committed(self, mark: cython.longlong):
        """Everything up to `mark` is safe."""
        if mark > self._ready_hi:
            self._ready_hi = mark
        self._list()

    @cython.cfunc
    def _list(self):
        """Have write_confirms() called before the output leaves."""
        if not self._listed and not self.output.finished:
            self._listed = True
            self.output.confirming.append(self)
            self.output.turn.mark(self.output)

    @cython.cfunc
    def write_confirms(self):
        """Write what may be confirmed now."""
        self._listed = False
        if not self.confirming:
            return
        if self._refused:
            for number in self._refused:
                self.output.nack(self.channel, number)
                self._nacked.append(number)
            self._refused = []
        if self._nacked:
            self._ack_between()
        if self._ready_hi > self.acked:
            self.output.ack(self.channel, self._ready_hi, self._ready_hi - self.acked > 1)
            self.acked = self._ready_hi
        if self._singles:
            for number in self._singles:
                if number > self.acked:
                    self.output.ack(self.channel, number, False)
            self._singles = []

    def _ack_between(self) -> None:
        """Confirm up to each number that was nacked, so that no ack with `multiple` begins before it."""
        while self._nacked and self._nacked[0] <= self._ready_hi:
            number = self._nacked.pop(0)
            if number - 1 > self.acked:
                self.output.ack(self.channel, number - 1, number - 1 - self.acked > 1)
            self.acked = number

    @property
    def active(self) -> bool:
        """Whether anything was published here: alarms are told to those who publish."""
        return self._exchange_found is not None

    def close(self) -> None:
        """The channel ends: what may be confirmed is, nothing later; a half-received content is dropped."""
        self.write_confirms()
        self.confirming = False
        self.expecting = NOTHING
        self._listed = True
        self._body = self._parts = None
