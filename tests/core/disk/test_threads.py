"""Worker threads."""

import asyncio
import threading

from core.disk.threads import Worker


def run(count, jobs):
    """Submit the jobs to a worker and return their results in the order in which they came back."""

    async def main():
        loop = asyncio.get_running_loop()
        worker = Worker("test", loop, count)
        results, through = [], loop.create_future()

        def done(result):
            assert threading.current_thread() is threading.main_thread()
            results.append(result)
            if len(results) == len(jobs):
                through.set_result(None)

        for job in jobs:
            worker.submit(job, done)
        await through
        worker.stop()
        return results

    return asyncio.run(main())


def test_jobs_run_elsewhere_in_order_and_results_come_back_on_the_loop():
    threads = set()

    def job(number):
        threads.add(threading.current_thread().name)
        return number

    assert run(1, [lambda n=n: job(n) for n in range(100)]) == list(range(100))
    assert threads == {"test-0"}


def test_an_exception_is_a_result():
    error = OSError(5, "Input/output error")

    def fail():
        raise error

    assert run(1, [fail, lambda: 1]) == [error, 1]


def test_with_two_threads_one_job_does_not_hold_up_another():
    gate = threading.Event()
    assert run(2, [lambda: gate.wait(10), gate.set]) in ([True, None], [None, True])


def test_stop_lets_submitted_jobs_finish_and_a_closed_loop_is_no_error():
    loop = asyncio.new_event_loop()
    worker, ran = Worker("test", loop), []
    loop.close()
    worker.submit(lambda: ran.append(1), print)
    worker.stop()
    assert ran == [1]
