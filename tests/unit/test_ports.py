"""Ports of `./dev up`."""

import socket
from pathlib import Path

import pytest

from devtools import ports


@pytest.fixture(autouse=True)
def locks_are_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_two_that_start_at_the_same_time_do_not_choose_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = ports.any_port()
    monkeypatch.setattr(ports, "DEMO_MODEL_PORT", usual)
    with ports.demo_model_port() as first, ports.demo_model_port() as second:
        assert first == usual
        assert second != usual
    with ports.demo_model_port() as again:
        assert again == usual


def test_a_port_that_somebody_listens_on_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((ports.HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(ports, "DEMO_MODEL_PORT", taken)
        with ports.demo_model_port() as chosen:
            assert chosen != taken
