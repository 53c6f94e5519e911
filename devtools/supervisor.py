"""Keeps the children of `./dev up` running until it is told to stop, then ends them in order.

Order of the end: everything but the demo model gets SIGTERM at once and may take as long as chat workers
may drain; the demo model follows, since a draining worker may still be talking to it. Who is late is
killed; a second Ctrl-C kills at once. The embedded servers are watched here and started again if they died;
they end with their last user.
On failure: a child that cannot start ends everything, exit code 1, its last lines printed at the end.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from config import embedded
from devtools import orphans, ports, restart_policy
from devtools.child import Child
from devtools.console import Console
from devtools.programs import Program
from devtools.state import Process, State

WATCH_SERVERS_EVERY = 1.0  # seconds
GRACE = 5.0  # seconds beyond the drain
READY_WITHIN = 120.0  # seconds


class Supervisor:
    """Runs once: `await run(...)`."""

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Mapping[str, str],
        *,
        state: State,
        data_dir: Path,
        console: Console,
        drain_lasts: float,
        servers: tuple[bool, bool],
        all_ready: Callable[[], None],
        longest_delay: float = restart_policy.LONGEST_DELAY,
    ) -> None:
        self._children = [Child(program, environment, console.line) for program in programs]
        self._state = state
        self._data_dir = data_dir
        self._console = console
        self._end_lasts = drain_lasts + GRACE
        self._servers = servers
        self._all_ready = all_ready
        self._longest_delay = longest_delay
        self._stopping = asyncio.Event()
        self._failure: str | None = None

    async def run(self) -> int:
        """Until a signal or a failure. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, self._signalled, number)
        async with asyncio.TaskGroup() as group:
            keeping = {child: group.create_task(self._keep(child)) for child in self._children}
            others = [group.create_task(self._watch_servers()), group.create_task(self._wait_until_ready())]
            await self._stopping.wait()
            for task in others:
                task.cancel()
            for last in (False, True):
                await self._end(
                    {child: task for child, task in keeping.items() if child.program.needed_until_the_end is last}
                )
        if self._failure is None:
            self._console.say("stopped")
            return 0
        self._console.say(self._failure)
        return 1

    def _signalled(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._console.say("killing what is left")
            for child in self._children:
                child.signal(signal.SIGKILL)
        else:
            self._console.say(f"{number.name}: stopping (once more kills at once)")
            self._stopping.set()

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._stopping.set()

    async def _keep(self, child: Child) -> None:
        history = restart_policy.History()
        while not self._stopping.is_set():
            code, lived = await child.live(self._started)
            if self._stopping.is_set():
                return
            taken = child.program.port is not None and not ports.is_free(child.program.port)
            history, decision = restart_policy.after_death(
                history,
                lived=lived,
                was_up=child.showed_that_it_is_up(),
                port_taken=taken,
                longest_delay=self._longest_delay,
            )
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            if isinstance(decision, restart_policy.GiveUp):
                why = f"port {child.program.port} is in use by another program" if taken else how
                lines = "\n".join(f"  {line}" for line in child.last_lines)
                self._fail(f"{child.program.role} cannot start ({why}). Its last lines:\n{lines}")
                return
            self._console.line(child.program.role, f"ended ({how}); starts again in {decision.after:g} s")
            await self._wait(self._stopping, decision.after)

    async def _end(self, keeping: Mapping[Child, "asyncio.Task[None]"]) -> None:
        for child in keeping:
            child.signal(signal.SIGTERM)
        if keeping:
            _, late = await asyncio.wait(keeping.values(), timeout=self._end_lasts)
            for child, task in keeping.items():
                if task in late:
                    self._console.line(child.program.role, f"still there after {self._end_lasts:g} s; killed")
                    child.signal(signal.SIGKILL)
            await asyncio.wait(keeping.values())

    async def _watch_servers(self) -> None:
        postgres, redis = self._servers
        while postgres or redis:
            await asyncio.sleep(WATCH_SERVERS_EVERY)
            found = embedded.status(self._data_dir)
            dead = [name for name, wanted in (("postgres", postgres), ("redis", redis)) if wanted and not found[name]]
            for name in dead:
                self._console.line(name, "is not running; starting it again")
            if dead:
                orphans.collect({child.pid for child in self._children if child.pid is not None})
                try:
                    await asyncio.to_thread(embedded.ensure_running, self._data_dir, postgres=postgres, redis=redis)
                except embedded.EmbeddedServerError as error:
                    self._console.say(str(error))

    async def _wait_until_ready(self) -> None:
        began = time.monotonic()
        for child in self._children:
            if not await self._wait(child.ready, READY_WITHIN - (time.monotonic() - began)):
                self._fail(f"{child.program.role} was not ready within {READY_WITHIN:g} s.")
                return
        self._all_ready()
        self._state.ready = True
        self._state.save(self._data_dir)

    def _started(self, child: Child, pid: int) -> None:
        """Write down who runs. One that was being started when the end began has missed its signal."""
        self._state.replace(Process.of(child.program.role, pid))
        self._state.save(self._data_dir)
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)

    async def _wait(self, event: asyncio.Event, lasts: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, lasts)):
                await event.wait()
        except TimeoutError:
            return False
        return True
