"""The guards by topic, one file each. Pure."""

from devtools.chaos.mutations.mutation import Mutation
from devtools.chaos.mutations.table import crowds, database, door, episodes, leases, publishing, runners

TOPICS: dict[str, tuple[Mutation, ...]] = {
    "The door": door.GUARDS,
    "Owners and leases": leases.GUARDS,
    "A chat at work": runners.GUARDS,
    "Live parts": episodes.GUARDS,
    "Limits, families, retention": crowds.GUARDS,
    "Hints and wake-ups": publishing.GUARDS,
    "Postgres": database.GUARDS,
}
MUTATIONS = tuple(guard for topic in TOPICS.values() for guard in topic)
