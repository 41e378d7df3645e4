"""One AMQP channel: which frame goes where, and what waits.

Two things make a channel's frames wait, in their order, as raw payloads:
- a method whose effect is on its way to the disk (its reply leaves at the commit), or a basic.get that reads the disk;
- an alarm: then only publishes wait, commits of such, and what must stay in order behind them. Acks (outside
  transactions), cancels, consumes and closes go on, and a close first takes in what waits, so that nothing sent before
  it is dropped (architecture rule 8.9).
"""

from __future__ import annotations

import cython

from core.errors import PreconditionFailed
from core.transaction import Transaction
from protocols.amqp import methods
from protocols.amqp.consuming import Consuming
from protocols.amqp.declaring import Declaring
from protocols.amqp.errors import AmqpError, SyntaxViolation, UnexpectedFrame, UnknownMethod
from protocols.amqp.publishing import Publishing

if cython.compiled:
    from cython.cimports.core.wire import rd16, rd32, rd64
    from cython.cimports.protocols.amqp.frames import FrameWriter
    from cython.cimports.protocols.amqp.waiting import WaitingFrames
else:
    from core.wire import rd16, rd32, rd64
    from protocols.amqp.frames import FrameWriter
    from protocols.amqp.waiting import WaitingFrames

    PUBLISH, ACK, REJECT, NACK = 60 << 16 | 40, 60 << 16 | 80, 60 << 16 | 90, 60 << 16 | 120
    CLOSE, TX_SELECT, TX_COMMIT = 20 << 16 | 40, 90 << 16 | 10, 90 << 16 | 20

METHOD = 1
OVERTAKING = frozenset(  # what need not wait behind held publishes: qos, consume, cancel(-ok), get, acks, recover
    {60 << 16 | method for method in (10, 20, 30, 31, 70, 80, 90, 100, 110, 120)} | {20 << 16 | 21, 20 << 16 | 41}
)
IN_ORDER = frozenset((ACK, REJECT, NACK, 60 << 16 | 100, 60 << 16 | 110))  # what may not overtake in a transaction
HEADER_WANTED = "expected content header for class 60, got non content header frame instead"
BODY_WANTED = "expected content body, got non content body frame instead"


@cython.final
@cython.cclass
class Channel:
    """A channel of an open connection. Errors leave as exceptions; the connection turns them into closes.

    ids          class and method id of the last method, as one number: what a close names as its cause
    transaction  None, or what tx mode holds
    """

    def __init__(self, number: int, connection: FrameWriter, broker: object):
        self.number = number
        self.output = connection
        self.connection = connection
        self.broker = broker
        self.flow = broker.flow
        self.log = broker.log
        self.publishing = Publishing(connection, number, broker, (connection.vhost, connection.user))
        self.consuming = Consuming(connection, number, broker, (connection.vhost, connection.user, connection))
        self.consuming.publishing = self.publishing
        self.declaring = Declaring(self, connection, broker)
        self.closing = self.waiting = False
        self._held = None
        self._content_held = self._forced = self._select_held = False
        self.transaction = None
        self.last_queue = ""
        self.ids = 0
        self._getter = None

    @cython.ccall
    def frame(self, kind: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Take the payload b[at:end] of one frame of this channel."""
        if self.closing:
            self._while_closing(kind, rd32(b, at) if kind == 1 and end - at >= 4 else 0)
        elif (self.waiting or self._held is not None or self.flow.blocked) and self._must_hold(kind, b, at, end):
            self._hold(kind, b, at, end)
        else:
            self._execute(kind, b, at, end)

    def _while_closing(self, kind: int, ids: int) -> None:
        """After our channel.close everything is dropped until close-ok; the peer's crossing close is answered."""
        if ids == CLOSE:
            self.output.method(self.number, methods.encode(methods.ChannelCloseOk()))
        elif ids == 20 << 16 | 41:
            self.connection.channel_ended(self)

    @cython.cfunc
    @cython.exceptval(-1)
    def _must_hold(self, kind: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Whether this frame waits; see the head of the module."""
        ids: cython.uint = rd32(b, at) if kind == 1 and end - at >= 4 else 0
        if ids == CLOSE and not self._forced:
            self._forced = True
            if not self.waiting:
                self.resume()
            return self._held is not None or self.waiting
        if self.waiting:
            return True
        if kind != 1:
            return self._content_held
        if ids == PUBLISH:
            self._content_held = not self._forced and (self.flow.blocked or self._held is not None)
            return self._content_held
        if self._held is None:
            return self._publishes_at_commit(ids)
        if ids == TX_SELECT:
            self._select_held = True
        ordered: cython.bint = self._select_held or self.transaction is not None
        return ids not in OVERTAKING or (ordered and ids in IN_ORDER)

    @cython.cfunc
    @cython.exceptval(-1)
    def _publishes_at_commit(self, ids: cython.uint) -> cython.bint:
        """Whether this is a tx.commit with messages that an alarm holds back."""
        held: cython.bint = self.flow.blocked and not self._forced and ids == TX_COMMIT
        return held and self.transaction is not None and self.transaction.publishing

    @cython.cfunc
    def _hold(self, kind: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        held: WaitingFrames = self._held
        if held is None:
            held = self._held = WaitingFrames()
        size: cython.Py_ssize_t = held.size
        held.add(kind, b, at, end)
        self.output.holds(held.size - size)

    @cython.ccall
    def resume(self):
        """Execute what waited, in order, until something has to wait again."""
        held: WaitingFrames = self._held
        while held is not None and held.count and not self.waiting and not self.closing:
            b: bytearray = held.buffer
            at: cython.Py_ssize_t = held.start
            end: cython.Py_ssize_t = held.stop
            kind: cython.int = held.kind
            ids: cython.uint = rd32(b, at) if kind == 1 and end - at >= 4 else 0
            if ids == PUBLISH and self.flow.blocked and not self._forced:
                self._content_held = True  # what is still to come of a content belongs to this or a later publish
                return
            if self._publishes_at_commit(ids):
                return
            size: cython.Py_ssize_t = held.size
            held.pop()
            self.output.holds(held.size - size)
            self._execute(kind, b, at, end)
            held = self._held
        if held is None or not held.count:
            self._forget_held()

    @cython.cfunc
    def _forget_held(self):
        """Nothing waits any more, or is to."""
        held: WaitingFrames = self._held
        if held is not None:
            self.output.holds(-held.size)
            held.release()
        self._held = None
        self._content_held = self._select_held = False

    def force(self, *, lost: bool = False) -> bool:
        """The connection closes: take in what waits whatever the alarm, and if it is `lost` whatever reply is due: that
        only keeps the replies in order. True when nothing waits any more."""
        self._forced = True
        self.resume()
        while lost and self._held is not None and not self.closing:
            self.waiting = False
            self.resume()
        return self._held is None and not self.waiting

    @cython.cfunc
    def _execute(self, kind: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        if kind == 1:
            self._method(b, at, end)
        elif kind == 2:
            self.publishing.header(b, at, end)
        else:
            self.publishing.body(b, at, end)

    @cython.cfunc
    def _method(self, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """The two hot methods are decoded in place, all others by the table."""
        if end - at < 4:
            raise SyntaxViolation("a method frame needs 4 bytes for its class and method id")
        if self.publishing.expecting:
            wanted = HEADER_WANTED if self.publishing.expecting == 1 else BODY_WANTED
            raise UnexpectedFrame(wanted, rd16(b, at), rd16(b, at + 2))
        ids: cython.uint = rd32(b, at)
        self.ids = ids
        if ids == PUBLISH:
            self.publishing.begin(b, at + 4, end)
        elif (ids == ACK or ids == NACK or ids == REJECT) and end - at == 13:
            self.consuming.settle(ids & 0xFFFF, rd64(b, at + 4), b[at + 12])
        else:
            self._dispatch(methods.decode(b, at, end))

    def _dispatch(self, method) -> None:
        """Every method but the hot ones."""
        kind = type(method)
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self, method)
        elif kind in DECLARING:
            mark = self.log.appended
            reply = DECLARING[kind](self.declaring, method)
            self.reply_when_safe(mark, None if getattr(method, "nowait", False) else reply)
        else:
            raise UnknownMethod(f"{method.name} is not a method of a client on an open channel", *method.ids)

    def reply_when_safe(self, mark: int, reply) -> None:
        """Send `reply`: now, or when what was appended to the log since `mark` is committed; the channel waits for it.

        A method without a reply (nowait) waits for nothing.
        """
        if reply is None:
            return
        payload = methods.encode(reply)
        if self.log.appended == mark or self.log.committed >= self.log.appended:
            self.output.method(self.number, payload)
            return
        self.waiting = True

        def answer() -> None:
            if not self.closing and not self.output.finished:
                self.output.method(self.number, payload)
                self.go_on()

        self.log.when_committed(answer)

    def go_on(self) -> None:
        """What the channel waited for has happened."""
        self.waiting = False
        self._getter = None
        self.connection.resume_channel(self)

    def _get(self, method) -> None:
        self.waiting = True
        try:
            self._getter = self.consuming.get(method, self.queue_name(method.queue), self.go_on)
        except Exception:
            self.waiting = False
            raise

    def queue_name(self, name: str) -> str:
        """An empty queue name stands for the last queue declared on this channel (spec 1.7.2)."""
        if name:
            return name
        if not self.last_queue:
            raise AmqpError(404, "no previously declared queue", self.ids >> 16, self.ids & 0xFFFF)
        return self.last_queue

    def _close(self, method) -> None:
        self.end()
        self.output.method(self.number, methods.encode(methods.ChannelCloseOk()))
        self.connection.channel_ended(self)

    def end(self) -> None:
        """Nothing is delivered or confirmed any more; consumers go, and unacknowledged messages go back."""
        self.closing = True
        if self._getter is not None:
            self._getter.cancelled = True
        self._forget_held()
        self.publishing.close()
        self.consuming.close()

    def _confirm_select(self, method) -> None:
        if self.transaction is not None:
            raise PreconditionFailed("cannot switch from tx to confirm mode")
        self.publishing.confirming = True
        if not method.nowait:
            self.output.method(self.number, methods.encode(methods.ConfirmSelectOk()))

    def _flow(self, method) -> None:
        if not method.active:
            raise AmqpError(540, "active=false", *method.ids)
        self.output.method(self.number, methods.encode(methods.ChannelFlowOk(True)))

    def _second_open(self, method) -> None:
        raise AmqpError(504, "second 'channel.open' seen", *method.ids)

    def _tx_select(self, method) -> None:
        if self.publishing.confirming:
            raise PreconditionFailed("cannot switch from confirm to tx mode")
        if self.transaction is None:
            vhost, limit = self.connection.vhost, self.broker.config.limits.transaction_bytes
            self.transaction = Transaction(self.broker, self.consuming.held, vhost, limit)
            self.publishing.transaction = self.consuming.transaction = self.transaction
        self.output.method(self.number, methods.encode(methods.TxSelectOk()))

    def _tx_commit(self, method) -> None:
        """commit-ok leaves when all of it is safe."""
        mark = self.log.appended
        self._transaction().commit(self.publishing)
        self.reply_when_safe(mark, methods.TxCommitOk())

    def _tx_rollback(self, method) -> None:
        self._transaction().roll_back()
        self.output.method(self.number, methods.encode(methods.TxRollbackOk()))

    def _transaction(self) -> Transaction:
        if self.transaction is None:
            raise PreconditionFailed("channel is not transactional")
        return self.transaction


HANDLERS = {
    methods.BasicConsume: lambda channel, method: channel.consuming.consume(method, channel.queue_name(method.queue)),
    methods.BasicCancel: lambda channel, method: channel.consuming.cancel(method),
    methods.BasicCancelOk: lambda channel, method: None,
    methods.BasicGet: Channel._get,
    methods.BasicQos: lambda channel, method: channel.consuming.qos(method),
    methods.BasicRecover: lambda channel, method: channel.consuming.recover(method),
    methods.BasicRecoverAsync: lambda channel, method: channel.consuming.recover(method),
    methods.ConfirmSelect: Channel._confirm_select,
    methods.ChannelOpen: Channel._second_open,
    methods.ChannelClose: Channel._close,
    methods.ChannelFlow: Channel._flow,
    methods.ChannelFlowOk: lambda channel, method: None,
    methods.TxSelect: Channel._tx_select,
    methods.TxCommit: Channel._tx_commit,
    methods.TxRollback: Channel._tx_rollback,
}
DECLARING = {
    methods.ExchangeDeclare: Declaring.exchange_declare,
    methods.ExchangeDelete: Declaring.exchange_delete,
    methods.ExchangeBind: Declaring.exchange_bind,
    methods.ExchangeUnbind: Declaring.exchange_unbind,
    methods.QueueDeclare: Declaring.queue_declare,
    methods.QueueBind: Declaring.queue_bind,
    methods.QueueUnbind: Declaring.queue_unbind,
    methods.QueuePurge: Declaring.queue_purge,
    methods.QueueDelete: Declaring.queue_delete,
}
