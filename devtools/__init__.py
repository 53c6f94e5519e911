"""What `./dev` does: one module for each command, listed in `__main__.py`.

    install.py          .venv and requirements, before anything else can be imported
    up.py               prepares, then starts everything
    programs.py         what runs, with which arguments (pure)
    supervisor.py       keeps it running, ends it in order
    child.py            one process and its log          tether.py     it does not outlive us
    restart_policy.py   when to try again (pure)         orphans.py    nor stay a zombie
    state.py            .data/dev.json and dev.lock      leftovers.py  what a killed one left
    detach.py  down.py  status.py  checks.py (`./dev test`)

Knows how to run the project, and nothing of what the project does.
"""
