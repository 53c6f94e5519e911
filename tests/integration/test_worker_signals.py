"""A real chat worker process and the signals that people and orchestrators send to it."""

import signal
from pathlib import Path
from typing import Any

import pytest

from chat import transitions
from chat.update import chat_read
from chatworker.testing import wait_until
from tests.worker_processes import CeleryProcess, database_url, worker_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def said_in_its_log(worker: CeleryProcess, words: str) -> None:
    wait_until(worker.log, lambda log: words in log, timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_second_signal_hands_over_long_before_the_draining_would_end(
    number: signal.Signals, owner: Any, tmp_path: Path
) -> None:
    with worker_process(tmp_path, database_url(), CHATD_DRAIN_TIMEOUT="60") as worker:
        text = "Hello [long 500] [interval 0.1]"
        chat_id = transitions.create_chat(owner=owner, parts=[{"type": "text", "text": text}]).pk
        wait_until(lambda: chat_read(chat_id), lambda snapshot: snapshot.chat.generation_attempt > 0, timeout=30)
        worker.send(number)
        said_in_its_log(worker, "worker.draining")
        worker.send(number)
        worker.wait(15)
        log = worker.log()
    assert chat_read(chat_id).chat.runner_id is None, "it is nobody's"
    assert "worker.told_to_hand_over" in log
    assert "Unrecoverable" not in log
    assert "Traceback" not in log
