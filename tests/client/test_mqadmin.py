"""Our mqadmin and RocketMQ's own print the same of the same broker."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corduroy.client import ConsumeFrom, Message, ReceivedMessage, blocking
from gateway.admin import message_text
from gateway.admin.command import Command, pretty, table
from gateway.admin.groups import version_text
from gateway.mqadmin import COMMANDS
from namesrv.command_line import UsageError
from tests.client import apache
from tests.client.conftest import BROKERS, shared
from tests.clients.broker import until
from tests.clients.mqadmin import Mqadmin

CLUSTER = "DefaultCluster"
JAVA_SECONDS = 600  # a virtual machine for each thing that theirs prints, on a busy machine


@pytest.fixture(scope="module")
def broker(request):
    """The first only: tests/clients/test_native_peers.py asks ours."""
    return shared(request, BROKERS[0])


@pytest.fixture
def ours(broker):
    """ours(*words) -> what our mqadmin printed."""

    def mqadmin(*words, code=0):
        line = [sys.executable, "-c", "from gateway.mqadmin import main; main()", *words]
        environment = {**os.environ, "NAMESRV_ADDR": broker.name_server}
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return mqadmin


@pytest.fixture(scope="module")
def theirs(broker, tmp_path_factory):
    """theirs(*words) -> what RocketMQ's printed."""
    if because := apache.missing():
        pytest.skip(because)
    folder = tmp_path_factory.mktemp("mqadmin")
    start = ["java", "-Xmx128m", f"-Duser.home={folder}", f"-Drocketmq.home.dir={folder}"]
    mqadmin = Mqadmin(folder, [*start, "-cp", f"{apache.library()}/*"]).start()
    yield lambda *words: mqadmin.ask(*words, "-n", broker.name_server)
    mqadmin.stop()


def without_what_moves(text):
    """Times, rates and trailing blanks are not the same in two calls."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(,\d+)?", "TIME", text)
    text = re.sub(r"(?m)^(Topic Put TPS|Consume TPS): \S+$", r"\1: RATE", text)
    text = re.sub(r" +\d+\.\d\d +\d+\.\d\d +\d+ +\d+$", " RATES", text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.splitlines())


@pytest.mark.timeout(JAVA_SECONDS)
def test_both_print_the_same_tables(broker, ours, theirs, name):
    topic, group = f"{name}-topic", f"{name}-group"
    created = ours("updateTopic", "-t", topic, "-c", CLUSTER, "-r", "4", "-w", "4")
    assert created == theirs("updateTopic", "-t", topic, "-c", CLUSTER, "-r", "4", "-w", "4")
    made = ours("updateSubGroup", "-g", group, "-c", CLUSTER, "-r", "3", "-s", "true")
    assert made == theirs("updateSubGroup", "-g", group, "-c", CLUSTER, "-r", "3", "-s", "true")
    until(lambda: topic in ours("topicList"), 30, "the topic's registration")
    sent = ours("sendMessage", "-t", topic, "-p", "body", "-k", "a b", "-c", "tag").splitlines()
    assert sent[0] == "#Broker Name                      #QID  #Send Result            #MsgId"
    assert re.fullmatch(r"broker-a {26}[0-3]     SEND_OK {17}[0-9A-F]{32}", sent[1])
    for words in (
        ("topicRoute", "-t", topic),
        ("topicRoute", "-t", topic, "-l"),
        ("topicStatus", "-t", topic),
        ("topicClusterList", "-t", topic),
        ("clusterList", "-m"),
        ("updateTopic", "-t", topic, "-c", CLUSTER, "-p", "4", "-o", "true"),
        ("wipeWritePerm", "-b", "broker-a"),
        ("addWritePerm", "-b", "broker-a"),
        *about_a_message(topic, sent[1].split()[1], sent[1].split()[3]),
    ):
        assert without_what_moves(ours(*words)) == without_what_moves(theirs(*words)), words
    listed = ours("topicList").split()
    assert sorted(listed) == sorted(theirs("topicList").split())


def about_a_message(topic, queue_id, unique_id):
    """Queries for the first message of a queue, which has the keys `a b` and the tag `tag`."""
    now = str(int(time.time() * 1000))
    place = ("-t", topic, "-b", "broker-a", "-i", queue_id)
    return (
        ("queryMsgByKey", "-t", topic, "-k", "b", "-e", now),
        ("queryMsgById", "-t", topic, "-i", unique_id, "-f", "UTF-8"),
        ("queryMsgByUniqueKey", "-t", topic, "-i", unique_id, "-a"),
        ("queryMsgByOffset", *place, "-o", "0"),
        ("consumeMessage", *place, "-o", "0", "-c", "5"),
    )


@pytest.mark.timeout(JAVA_SECONDS)
def test_both_print_the_same_of_a_group_that_consumes(broker, ours, theirs, name):
    seen = threading.Event()
    ours("updateTopic", "-t", name, "-c", CLUSTER, "-r", "2", "-w", "2")
    until(lambda: name in ours("topicList"), 30, "the topic's registration")
    consumer = blocking.PushConsumer(
        name, lambda messages: seen.set(), broker.name_server, consume_from=ConsumeFrom.FIRST, client_id=f"c-{name}"
    )
    consumer.subscribe(name, "a || b")
    with consumer, blocking.Producer(f"{name}-p", broker.name_server) as producer:
        sent = producer.send(Message(name, b"x", tags="a"))
        assert seen.wait(30)

        def caught_up():
            return "Consume Diff Total: 0" in ours("consumerProgress", "-g", name)

        query = ("queryMsgById", "-t", name, "-i", sent.offset_message_id)
        consumed = f"[consumerGroup={name}, trackType=CONSUMED, exceptionDesc=null]"
        until(lambda: consumed in ours(*query) and caught_up(), 30, "the commit of what was consumed")
        for words in (
            ("consumerProgress", "-g", name),
            ("consumerProgress", "-g", name, "-t", name, "-s", "true"),
            ("consumerConnection", "-g", name),
            ("producerConnection", "-g", f"{name}-p", "-t", name),
            ("statsAll", "-t", name),
            query,
        ):
            assert in_order(ours(*words)) == in_order(theirs(*words)), words
        again = ours(*query, "-g", name, "-d", f"c-{name}")
        assert re.match(r"ConsumeMessageDirectlyResult \[order=false, autoCommit=true, consumeResult=CR_SUCCESS", again)
        assert "SendResult [sendStatus=SEND_OK" in ours(*query, "-s", "true")
        address = ours("clusterList").splitlines()[1].split()[3]
        queue = ("-g", name, "-t", name, "-b", address, "-q", "0", "-s", "0", "-o", "1")
        assert ours("resetOffsetByTime", *queue) == theirs("resetOffsetByTime", *queue)
        ours("updateSubGroup", "-g", f"{name}-c", "-c", CLUSTER)
        clone = ("cloneGroupOffset", "-s", name, "-d", f"{name}-c", "-t", name)
        assert ours(*clone) == theirs(*clone)
        row = next(line for line in ours("consumerProgress").splitlines() if line.startswith(name))
        assert row.split() == [name, "1", *row.split()[2:3], "PUSH", "CLUSTERING", *row.split()[5:]]
        moved = ours("resetOffsetByTime", "-g", name, "-t", name, "-s", "0")
        assert "#brokerName" in moved and re.search(r"(?m)^broker-a +0 +0 *$", moved)
    ours("deleteSubGroup", "-g", name, "-c", CLUSTER, "-r", "true")
    gone = ours("deleteTopic", "-t", name, "-c", CLUSTER)
    assert gone == "".join(
        f"delete topic [{name}] from {where} success.\n" for where in (f"cluster [{CLUSTER}]", "NameServer")
    )


def test_messages_are_consumed_in_a_span_of_time_and_no_more_than_asked_for(broker, ours, name):
    ours("updateTopic", "-t", name, "-c", CLUSTER, "-r", "1", "-w", "1")
    until(lambda: name in ours("topicList"), 30, "the topic's registration")
    with blocking.Producer(name, broker.name_server) as producer:
        for number in range(4):
            producer.send(Message(name, b"body %d" % number))

    def bodies(*words):
        return re.findall(r"BODY: (.*)", ours("consumeMessage", "-t", name, *words))

    until(lambda: len(bodies()) == 4, 30, "all messages")
    assert bodies() == [f"body {number}" for number in range(4)]
    assert bodies("-c", "2") == ["body 0", "body 1"]
    now = f"{time.strftime('%Y-%m-%d#%H:%M:%S')}:000"
    assert len(bodies("-s", "0", "-e", now, "-b", "broker-a", "-i", "0", "-o", "1")) <= 3
    place = ("consumeMessage", "-t", name, "-i", "0")
    assert "Please set the brokerName before queueId!" in ours(*place, code=1)
    assert "Please set the endTimestamp before now!" in ours(*place, "-b", "broker-a", "-e", str(1 << 60), code=1)
    queue = f"MessageQueue [topic={name}, brokerName=broker-a, queueId=0]"
    assert ours(*place, "-b", "broker-a", "-o", "9") == f"{queue} no matched msg, offset=9\n"


def in_order(text):
    """Maps are printed in any order."""
    return sorted(without_what_moves(text).splitlines())


@pytest.mark.timeout(JAVA_SECONDS)
def test_the_broker_s_own_figures_have_the_same_names(broker, ours, theirs):
    def names(text):
        return {line.partition(":")[0].strip() for line in text.splitlines()}

    assert names(ours("brokerStatus", "-c", CLUSTER)) == names(theirs("brokerStatus", "-c", CLUSTER))
    mine, other = ours("clusterList").splitlines(), theirs("clusterList").splitlines()
    assert mine[0].rstrip() == other[0].rstrip()
    assert mine[1].split()[:5] == other[1].split()[:5] and len(mine[1].split()) == len(other[1].split())
    config = ("getBrokerConfig", "-c", CLUSTER)
    assert ours(*config).splitlines()[0] == theirs(*config).splitlines()[0]
    address = mine[1].split()[3]
    for value in ("4194305", "4194304"):
        change = ("updateBrokerConfig", "-b", address, "-k", "maxMessageSize", "-v", value)
        assert ours(*change) == theirs(*change) == f"update broker config success, {address}\n"
        assert f"maxMessageSize                                    =  {value}" in ours("getBrokerConfig", "-b", address)


def test_what_cannot_be_done_is_one_line_and_exit_code_1(ours, name):
    assert re.fullmatch(r"mqadmin topicRoute: .*No topic route info.*\n", ours("topicRoute", "-t", name, code=1))
    assert "Missing required options: t, [-b create topic to which broker, -c create topic to which cluster]" in ours(
        "updateTopic", code=1
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing required options: t, c"),
        (["-t", "x"], "Missing required option: c"),
        (["-t"], "Missing argument for option: t"),
        (["-z"], "Unrecognized option: -z"),
    ],
)
def test_a_command_line_is_refused_in_commons_clis_words(words, said):
    with pytest.raises(UsageError, match=f"^{said}$"):
        COMMANDS["deleteTopic"].given(words)
    with pytest.raises(UsageError, match="^The option 'c' was specified but an option from this group"):
        COMMANDS["brokerStatus"].given(["-b", "x", "-c", "y"])


def test_every_command_says_what_it_is_and_names_its_options_once():
    for command in COMMANDS.values():
        assert isinstance(command, Command) and command.about.endswith((".", "topic", "param."))
        shorts = [option.short for option in command.all_options]
        assert len(shorts) == len(set(shorts)), command.name


def test_versions_have_rocketmqs_names():
    named = {212: "V4_0_0_SNAPSHOT", 233: "V4_1_0", 317: "V4_5_2", 401: "V4_9_4", 413: "V5_0_0", 513: "V5_5_0"}
    assert {number: version_text(number) for number in named} == named
    assert version_text(600) == "V5_9_4_SNAPSHOT" and version_text(612) == "HIGHER_VERSION"


def test_json_is_laid_out_as_fastjson_does():
    lines = ["{", '\t"a":[', "\t\t{", '\t\t\t"b":{', '\t\t\t\t0:"x",', '\t\t\t\t1:"y"', "\t\t\t}", "\t\t},", "\t\t{}"]
    lines += ["\t],", '\t"c":"ü",', '\t"d":null', "}"]
    assert pretty({"a": [{"b": {0: "x", 1: "y"}}, {}], "c": "ü", "d": None}) == "\n".join(lines)


def test_a_message_id_is_a_path_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(message_text, "BODIES", str(tmp_path / "bodies"))
    place = ("127.0.0.1:1", 7, "127.0.0.1:2", 0, 0)

    def kept(unique_id):
        properties = {"UNIQ_KEY": unique_id}
        return Path(message_text.keep_body(ReceivedMessage("t", b"body", properties, 0, 0, 5, 0, 0, 7, *place), "_1"))

    assert kept("0A-b").name == "0A-b_1" and kept("0A-b").read_bytes() == b"body"
    assert kept("../../out").name == "7F000001000000020000000000000005_1"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bodies"]


def test_a_table_cuts_what_is_marked_only(capsys):
    table("<4!", "<4")("abcdef", "abcdef")
    assert capsys.readouterr().out == "abcd  abcdef\n"
