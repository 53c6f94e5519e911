"""Redis: whether it answers, and whether it forgets or refuses what it was told. That it may be lost is no matter."""

from collections.abc import Iterator
from typing import Any

from chat.doctor.finding import Finding, NoAnswer, first_line, ok, problem, warning
from chat.doctor.site import Site
from chat.outage import REDIS_AWAY

OLDEST = (6, 2)
"""The oldest version that the tests run with."""
NEARLY_FULL = 0.9


def server(site: Site) -> Iterator[Finding]:
    try:
        info: dict[str, Any] = site.redis.info()
    except REDIS_AWAY as error:
        todo = "Start it, or correct REDIS_URL. Without it streams lag, and wake-ups wait for the workers' own sweeps."
        raise NoAnswer(f"It does not answer: {first_line(error)}", todo) from None
    yield from judged(info)


def judged(info: dict[str, Any]) -> Iterator[Finding]:
    """`info`: what Redis says of itself."""
    version = str(info.get("redis_version", "0"))
    most, used, policy = (
        info.get("maxmemory", 0),
        info.get("used_memory", 0),
        info.get("maxmemory_policy", "noeviction"),
    )
    figures = {"version": version, "used_memory": used, "maxmemory": most, "maxmemory_policy": policy}
    fine = True
    if info.get("role") == "slave":
        fine = False
        yield problem("It is a replica: nothing can be written.", "Point REDIS_URL to the primary.", **figures)
    if _numbers(version) < OLDEST:
        fine = False
        says = f"Version {version} is older than what Chatd is tested with."
        yield warning(says, f"Upgrade to {'.'.join(map(str, OLDEST))} or newer.", **figures)
    if policy != "noeviction":
        fine = False
        says = f"maxmemory-policy is {policy}: a full Redis drops queues or live streams without a word."
        yield warning(says, "CONFIG SET maxmemory-policy noeviction: every writer here survives a refusal.", **figures)
    if most and used > most * NEARLY_FULL:
        fine = False
        says = f"{used / most:.0%} of its memory is taken; a full Redis refuses live text and wake-ups."
        yield warning(says, "Raise maxmemory, or see what else uses it.", **figures)
    if fine:
        yield ok(f"{version} answers; {_memory(used, most)}.", **figures)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _memory(used: int, most: int) -> str:
    return f"{used / 2**20:.1f} MB used{f' of {most / 2**20:.0f} MB' if most else ''}"
