"""What `./dev` does: one module for each command, listed in `__main__.py`.

    install.py          .venv and requirements, before anything else can be imported
    up.py               prepares, then starts everything
    programs.py         what runs, with which arguments (pure)
    supervisor.py       keeps it running, ends it in order
    child.py            one process and its log          tether.py     it does not outlive us
    restart_policy.py   when to try again (pure)         orphans.py    nor stay a zombie
    state.py            .data/dev.json and dev.lock      leftovers.py  what a killed one left
    stack.py            a whole system of one's own, for benchmarks and faults
    ports.py  project.py  console.py    free ports, where things are, what people read
    detach.py  down.py  status.py  checks.py (`./dev test`)
    bench/              `./dev bench`                    chaos/        `./dev chaos`

Knows how to run the project, and nothing of what the project does.
"""
