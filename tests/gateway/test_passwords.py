"""Passwords are checked off the loop, once, and remembered."""

import pytest

from gateway.passwords import WAITING_MAX, Passwords


class Worker:
    """Threads that work when told to."""

    def __init__(self):
        self.jobs = []

    def submit(self, job, done):
        self.jobs.append((job, done))

    def run(self):
        while self.jobs:
            job, done = self.jobs.pop(0)
            try:
                result = job()
            except Exception as error:
                result = error
            done(result)


class Access:
    """Knows one password; remembers by version as the real one does."""

    def __init__(self):
        self.version, self.known, self.checks = 0, {}, 0

    def cached(self, user, password):
        return self.known.get((user, password))

    def verify(self, user, password):
        self.checks += 1
        if user == "broken":
            raise RuntimeError
        return password == b"right"

    def remember(self, user, password, version, correct):
        if version == self.version:
            self.known[user, password] = correct


@pytest.fixture
def worker():
    return Worker()


@pytest.fixture
def access():
    return Access()


@pytest.fixture
def passwords(access, worker):
    return Passwords(access, worker)


@pytest.mark.parametrize(("password", "correct"), [(b"right", True), (b"wrong", False)])
def test_a_password_is_checked_in_a_thread_and_the_next_time_known(passwords, worker, access, password, correct):
    answers = []
    passwords.check("user", password, answers.append)
    assert answers == [] and passwords.waiting == 1 and access.checks == 0
    worker.run()
    passwords.check("user", password, answers.append)
    assert answers == [correct, correct] and access.checks == 1 and passwords.waiting == 0


def test_what_was_checked_against_old_users_is_not_remembered(passwords, worker, access):
    passwords.check("user", b"right", lambda correct: None)
    access.version += 1
    worker.run()
    assert access.known == {}


def test_a_check_that_fails_lets_nobody_in_and_is_not_remembered(passwords, worker, access):
    answers = []
    passwords.check("broken", b"right", answers.append)
    worker.run()
    assert answers == [False] and access.known == {} and passwords.waiting == 0


def test_those_that_wait_have_a_bound(passwords, worker):
    answers = []
    for number in range(WAITING_MAX + 1):
        passwords.check(str(number), b"right", answers.append)
    assert answers == [False] and len(worker.jobs) == WAITING_MAX
