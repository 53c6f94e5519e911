"""Django's Postgres backend, and faults: `ENGINE` of `devtools.chaos.injection.settings`."""
