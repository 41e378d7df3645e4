"""The Celery application of test_celery.py; run as a program, its worker: broker URL, queue name and result backend as
arguments."""

import sys
import time

from celery import Celery

TOP_PRIORITY = 9


def configure(app: Celery, url: str, queue: str, backend: str) -> Celery:
    """Settings that the worker and the sender share."""
    app.conf.update(
        broker_url=url,
        result_backend=backend,
        task_queue_max_priority=TOP_PRIORITY,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        result_persistent=False,
        task_default_queue=queue,
        control_exchange=f"{queue}-control",
        event_exchange=f"{queue}-events",
        event_queue_prefix=f"{queue}-events",
        worker_send_task_events=True,
        task_track_started=True,
        broker_connection_timeout=10,
        broker_connection_retry_on_startup=True,
    )
    return app


def define_tasks(app: Celery) -> None:
    """The tasks, by the names that the tests send."""

    @app.task(name="tasks.add")
    def add(a, b):
        return a + b

    @app.task(name="tasks.total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="tasks.when")
    def when():
        return time.time()

    @app.task(name="tasks.third_time_lucky", bind=True)
    def third_time_lucky(self):
        if self.request.retries < 2:
            raise self.retry(countdown=0.1)
        return self.request.retries

    @app.task(name="tasks.fail")
    def fail():
        raise ValueError("on purpose")

    @app.task(name="tasks.repeat")
    def repeat(text, count):
        return text * count


def main() -> None:
    """One worker, one task at a time, in this process."""
    url, queue, backend = sys.argv[1:]
    app = configure(Celery("tasks"), url, queue, backend)
    define_tasks(app)
    app.worker_main(["worker", "--pool=solo", "--concurrency=1", "--events", "--loglevel=INFO", f"--hostname={queue}"])


if __name__ == "__main__":
    main()
