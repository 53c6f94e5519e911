"""Where the embedded servers are reached follows from the data directory alone, and who may pass to it is
one user.
"""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from config import embedded
from config.embedded_servers.traversal import (
    GROUP,
    MASK,
    NOBODY_IN_PARTICULAR,
    OTHERS,
    OWNER,
    USER,
    with_pass_for,
)

DATA = Path("/srv/chatd/.data")


def test_addresses_lie_in_the_data_directory() -> None:
    found = embedded.addresses(DATA)
    assert found.redis_socket == DATA / "sockets" / "redis.sock"
    assert found.postgres_socket_dir == DATA / "sockets"
    assert found.redis_url == "unix:///srv/chatd/.data/sockets/redis.sock?db=0"


def test_the_database_url_names_the_socket_directory_as_host() -> None:
    url = urlsplit(embedded.addresses(DATA).database_url)
    assert (url.scheme, url.username, url.path) == ("postgresql", "postgres", "/chatd")
    assert parse_qs(url.query) == {"host": [str(DATA / "sockets")]}


def test_asking_for_addresses_makes_nothing(tmp_path: Path) -> None:
    embedded.addresses(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_a_socket_moves_the_sockets_to_tmp() -> None:
    long = Path("/srv") / ("x" * 90)
    sockets = embedded.addresses(long).postgres_socket_dir
    assert sockets.parent == Path("/tmp")
    assert sockets == embedded.addresses(long).postgres_socket_dir
    assert sockets != embedded.addresses(long / "other").postgres_socket_dir


def test_a_relative_and_an_absolute_path_are_the_same_data_directory() -> None:
    assert embedded.addresses(Path("some/.data")) == embedded.addresses(Path("some/.data").resolve())


NOBODY = NOBODY_IN_PARTICULAR
CLOSED = [(OWNER, 7, NOBODY), (GROUP, 0, NOBODY), (OTHERS, 0, NOBODY)]


def test_one_user_may_pass_and_group_and_others_get_nothing() -> None:
    assert with_pass_for(CLOSED, 999) == [
        (OWNER, 7, NOBODY),
        (USER, 1, 999),
        (GROUP, 0, NOBODY),
        (MASK, 1, NOBODY),
        (OTHERS, 0, NOBODY),
    ]


def test_rights_that_were_granted_before_stay() -> None:
    before = [(OWNER, 7, NOBODY), (USER, 6, 5), (GROUP, 4, NOBODY), (MASK, 6, NOBODY), (OTHERS, 0, NOBODY)]
    after = with_pass_for(before, 999)
    assert [entry for entry in before if entry[0] != MASK] == [
        entry for entry in after if entry[0] != MASK and entry[2] != 999
    ]
    assert (MASK, 7, NOBODY) in after


def test_granting_twice_is_granting_once() -> None:
    once = with_pass_for(CLOSED, 999)
    assert with_pass_for(once, 999) == once
