"""Celery workers in processes of their own: tasks, results by rpc://, events, remote control, retries, times, chords,
priorities."""

import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import celery
import pytest

from tests.clients.broker import until
from tests.clients.celery_tasks import TOP_PRIORITY, configure

START_SECONDS = 40
RESULT_SECONDS = 20


def application_of(broker, backend="rpc://"):
    """The application as its senders have it, and its worker's command line; its queue is its own."""
    url, queue = f"pyamqp://guest:guest@127.0.0.1:{broker.port}//", f"celery-{uuid.uuid4().hex[:12]}"
    program = [sys.executable, "-m", "tests.clients.celery_tasks", url, queue, backend]
    return configure(celery.Celery("tasks"), url, queue, backend), program


@contextmanager
def worker_of(program, folder):
    """A running worker; gives its log."""
    log, root = folder / "worker.log", Path(__file__).parents[2]
    with open(log, "wb") as output:
        worker = subprocess.Popen(program, stdout=output, stderr=output, cwd=root)
    try:
        yield log
    finally:
        worker.terminate()
        try:
            worker.wait(15)
        except subprocess.TimeoutExpired:
            worker.kill()


@pytest.fixture(scope="module")
def app(broker, tmp_path_factory):
    """The application with a running worker."""
    application, program = application_of(broker)
    with worker_of(program, tmp_path_factory.mktemp("celery")) as log:
        yield application, log
    application.close()


@pytest.fixture
def send(app):
    """send(task, *arguments): an asynchronous result, once the worker is up."""
    application, log = app
    until(lambda: b"ready." in log.read_bytes(), START_SECONDS, "a worker that is ready")
    return lambda task, *arguments, **options: application.send_task(task, arguments, **options)


@pytest.mark.timeout(120)
def test_tasks_are_carried_out_and_results_come_back(send):
    results = [send("tasks.add", number, 1) for number in range(20)]
    assert [each.get(timeout=RESULT_SECONDS) for each in results] == [number + 1 for number in range(20)]


@pytest.mark.timeout(120)
def test_a_failing_task_brings_its_exception(send):
    with pytest.raises(ValueError, match="on purpose"):
        send("tasks.fail").get(timeout=RESULT_SECONDS)


@pytest.mark.timeout(120)
def test_a_big_result_comes_back(send):
    assert len(send("tasks.repeat", "x", 300_000).get(timeout=RESULT_SECONDS)) == 300_000


@pytest.mark.timeout(120)
def test_events_tell_of_tasks(app, send):
    application, _ = app
    seen = []
    with application.connection_for_read() as connection:
        receiver = application.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})

        def listen():
            for _ in receiver.itercapture(limit=None, timeout=RESULT_SECONDS, wakeup=False):
                if "task-succeeded" in seen:
                    break

        # the queue must exist before the task runs: its declaration is the receiver's first act
        listening = threading.Thread(target=listen, daemon=True)
        listening.start()

        def told():
            send("tasks.add", 1, 2).get(timeout=RESULT_SECONDS)
            listening.join(0.2)
            return not listening.is_alive()

        until(told, RESULT_SECONDS, "events of a task")
    assert {"task-received", "task-started", "task-succeeded"} <= set(seen)


@pytest.mark.timeout(120)
def test_the_worker_answers_pings(app, send):
    application, _ = app
    assert send("tasks.add", 1, 1).get(timeout=RESULT_SECONDS) == 2

    def answered():
        return application.control.ping(timeout=1)

    (answer,) = until(answered, RESULT_SECONDS, "a pong")
    assert list(answer.values()) == [{"ok": "pong"}]


@pytest.mark.timeout(120)
def test_a_task_that_is_retried_comes_back_after_its_countdown(send):
    assert send("tasks.third_time_lucky").get(timeout=RESULT_SECONDS) == 2


@pytest.mark.timeout(120)
def test_a_task_with_a_countdown_waits_and_lets_others_pass(send):
    since = time.time()
    late = send("tasks.when", countdown=6)
    assert send("tasks.when").get(timeout=RESULT_SECONDS) < since + 6
    assert late.get(timeout=RESULT_SECONDS) >= since + 6


@pytest.mark.timeout(120)
def test_what_is_of_a_higher_priority_is_carried_out_first(broker, tmp_path):
    application, program = application_of(broker, f"file://{tmp_path}")
    results = {}
    for number in range(12):
        priority = (0, TOP_PRIORITY, 4)[number % 3]
        results[application.send_task("tasks.when", priority=priority)] = priority
    with worker_of(program, tmp_path):
        times = {each.get(timeout=START_SECONDS): priority for each, priority in results.items()}
    application.close()
    assert [times[at] for at in sorted(times)] == [TOP_PRIORITY] * 4 + [4] * 4 + [0] * 4


@pytest.mark.timeout(120)
def test_a_chord_is_closed_by_what_its_tasks_gave(broker, tmp_path):
    application, program = application_of(broker, f"file://{tmp_path}")
    with worker_of(program, tmp_path):
        header = [application.signature("tasks.add", (number, number)) for number in range(10)]
        result = celery.chord(header, app=application)(application.signature("tasks.total"))
        assert result.get(timeout=START_SECONDS) == 90
    application.close()
