"""The native port of the running gateway: its connections, the embedded name server, and what name servers are told.

The embedded name server hears of this broker by the very requests that others get, without a socket. Who asks it for a
route is given the address that they came in by, unless rocketmq.brokerIP1 or the listener says which it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
from pathlib import Path
from typing import Any

from core.config import Config, server_addresses
from gateway.listeners import ListenError
from gateway.live_config import LiveConfig
from gateway.name_servers import NameServerLink
from namesrv.config import Config as NamesrvConfig
from namesrv.config import ConfigError as NamesrvConfigError
from namesrv.main import Server, assembled
from namesrv.start import StartError
from protocols.remoting import system_topics
from protocols.remoting.configuring import Configuration
from protocols.remoting.connection import RemotingConnection
from protocols.remoting.frame import Frame
from protocols.remoting.message_ids import host_bytes
from protocols.remoting.registration import Identity, Registrar
from protocols.remoting.remoting import Remoting
from protocols.remoting.rules import READ, Rules
from protocols.remoting.serving import serve

JSON = 0
LOCAL_HOST = "127.0.0.1"
GATHER_SECONDS = 0.05  # topics that change are told of together, where that goes over a network
WILDCARDS = ("0.0.0.0", "::")

log = logging.getLogger("gateway")


def broker_name(config: Config) -> str:
    """What clients and tools call this broker."""
    return config.rocketmq.broker_name or re.sub(r"[^%|a-zA-Z0-9_-]", "-", socket.gethostname())[:127] or "broker"


def own_address() -> str:
    """The address by which this machine reaches others: what message ids lead to when all addresses are listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation's: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return LOCAL_HOST


class NativePort:
    """start() when the listeners are bound; stop() at the end. `remoting` is what its connections share."""

    def __init__(self, broker: Any, config: Config):
        self.remoting = Remoting(broker)
        self._broker = broker
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._server: Server | None = None
        self._own = object()  # the embedded name server's connection to this broker
        self._links: list[NameServerLink] = []
        self._changed: set[bytes] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._host = self._port = ""
        self._rules = Rules(permission=config.rocketmq.broker_permission)
        self._told_permission = self._rules.permission

    def connection(self) -> RemotingConnection:
        """The broker's end of a new connection."""
        return RemotingConnection(self.remoting, self._loop.time())

    def serve(self, bound: dict[str, str]) -> None:
        """Have sends, pulls and topics served, before the first client comes; delayed messages go on."""
        place = bound.get("remoting") or bound.get("remoting_vip")
        if place is None:
            return
        rocketmq, name = self._config.rocketmq, broker_name(self._config)
        host, _, port = place.rpartition(":")
        host = rocketmq.broker_ip1 or (own_address() if host.strip("[]") in WILDCARDS else host.strip("[]"))
        try:
            store_host = host_bytes(host, int(port))
        except ValueError:  # a name, or a Unix socket
            store_host = host_bytes(LOCAL_HOST, int(port) if port.isdigit() else 0)
        rules = Rules(
            cluster=rocketmq.broker_cluster_name,
            broker=name,
            region=rocketmq.region_id,
            store_host=store_host,
            address=host,
            permission=rocketmq.broker_permission,
            auto_create_topic=rocketmq.auto_create_topic_enable,
            default_topic_queues=rocketmq.default_topic_queue_nums,
            body_bytes_max=rocketmq.max_message_size,
            trace_on=rocketmq.trace_on,
            property_filter=rocketmq.enable_property_filter,
            server_side_reset=rocketmq.use_server_side_reset_offset,
            retry_v2=rocketmq.enable_retry_topic_v2,
            transaction_timeout_ms=rocketmq.transaction_time_out,
            transaction_check_interval_ms=rocketmq.transaction_check_interval,
            transaction_check_max=rocketmq.transaction_check_max,
            reject_transactions=rocketmq.reject_transaction_message,
            timers=rocketmq.timer_wheel_enable,
            timer_max_delay_seconds=rocketmq.timer_max_delay_sec,
            recalls=rocketmq.recall_message_enable,
            store_replies=rocketmq.store_reply_message_enable,
        )
        origin = store_host[:4] + (os.getpid() & 0xFFFF).to_bytes(2) + secrets.token_bytes(4)
        live = LiveConfig(self._broker, self._config, name)
        self._rules = rules
        serve(self.remoting, rules, origin, Configuration(live.shown, live.change))
        live.follow(rules, self._rules_changed)

    def _rules_changed(self) -> None:
        """What sends look at, and what name servers were told."""
        self.remoting.sends.configure(self._rules)
        system_topics.ensure(self._broker.topics, self._rules)
        if self._rules.permission != self._told_permission:
            topics = self._broker.topics
            topics.put(topics.find(self._rules.broker.encode()).config)  # name servers take what has a new version
            self._changed.update(topic.config.name for topic in topics.all())
            self._told_permission = self._rules.permission

    async def start(self, bound: dict[str, str], name_server: socket.socket | None) -> None:
        """bound: what really listens; name_server: a socket that does for the embedded one. Raises ListenError."""
        rocketmq = self._config.rocketmq
        if name_server is not None:
            await self._start_name_server(name_server)
        if "remoting" not in bound or bound["remoting"].startswith("unix:"):
            return
        host, _, self._port = bound["remoting"].rpartition(":")
        self._host = rocketmq.broker_ip1 or ("" if host.strip("[]") in WILDCARDS else host)
        for address in server_addresses(rocketmq.namesrv_addr):
            self._links.append(NameServerLink(address, self._registrar, rocketmq.register_name_server_period / 1000))
        self._broker.topics.changed.append(self._topic_changed)
        for link in self._links:
            link.start()
        self._refresh()

    async def _start_name_server(self, listening: socket.socket) -> None:
        try:
            names = assembled(self._namesrv_config())
        except (StartError, NamesrvConfigError) as error:
            raise ListenError(f"listeners.namesrv: {error}") from None
        names.show = self._show
        if self.remoting.assignments is not None:
            self.remoting.assignments.routed = self._routed
        self._server = Server(names, JSON)
        await self._server.listen_on(listening)

    def _namesrv_config(self) -> NamesrvConfig:
        folder = Path(self._config.data_dir) / "namesrv"
        stored = folder / "namesrv.properties"
        paths = {"kvConfigPath": str(folder / "kvConfig.json"), "configStorePath": str(stored)}
        return NamesrvConfig(paths, stored.read_text() if stored.exists() else "")

    def _registrar(self, host: str) -> Registrar:
        """For a name server that sees us at `host`, unless that is set."""
        rocketmq = self._config.rocketmq
        name = broker_name(self._config)
        return Registrar(
            Identity(rocketmq.broker_cluster_name, name, f"{self._host or host}:{self._port}"),
            self._broker.topics,
            lambda: self._rules.permission,
        )

    def _routed(self, topic: str) -> dict[str, int]:
        """Which brokers have how many queues of the topic that may be read, as the embedded name server knows."""
        assert self._server is not None
        found = self._server.names.routes.topics.get(topic, {})
        return {name: queues.read_queue_nums for name, queues in found.items() if queues.perm & READ}

    def _show(self, channel: Any, address: str) -> str:
        """To who came in by another address of this machine, ours is there."""
        host = getattr(channel, "local_host", "")
        if self._host or not host or address != f"{LOCAL_HOST}:{self._port}":
            return address
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    # -- the embedded name server hears of us

    def _refresh(self) -> None:
        """Say all of it, and that we are there."""
        if self._server is not None:
            self._tell_own(self._registrar(LOCAL_HOST).all())
        period = self._config.rocketmq.register_name_server_period / 1000
        self._timer = self._loop.call_later(period, self._refresh)

    def _tell_own(self, request: bytes) -> None:
        assert self._server is not None
        frame, data = Frame(), bytearray(request)
        assert frame.take(data, 0, len(data)) == len(data)
        answer = self._server.names.answer(frame, self._own)
        if answer.code:
            log.warning("the embedded name server refuses this broker", extra={"error": answer.remark})

    def _topic_changed(self, name: bytes) -> None:
        """A topic was made, changed or deleted: the embedded name server knows at once, others with what changes in
        the next moment."""
        if self._server is not None:
            if self._broker.topics.find(name) is None:
                self._server.names.routes.drop(name.decode(), broker_name(self._config))
            elif self._rules.permission != self._told_permission:
                self._tell_own(self._registrar(LOCAL_HOST).all())
            else:
                self._tell_own(self._registrar(LOCAL_HOST).some([name]))
        if self._links and not self._changed:
            self._loop.call_later(GATHER_SECONDS, self._tell_others)
        self._changed.add(name)

    def _tell_others(self) -> None:
        changed, self._changed = self._changed, set()
        for link in self._links:
            link.tell(changed)

    async def stop(self) -> None:
        """Say goodbye."""
        if self._timer is not None:
            self._timer.cancel()
        for link in self._links:
            link.stop()
        if self._server is not None:
            await self._server.close()
