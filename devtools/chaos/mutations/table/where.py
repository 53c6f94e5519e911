"""Where the tests of guards are."""

INTEGRATION = "tests/integration"
INTERRUPT, MANAGER = f"{INTEGRATION}/test_interrupt.py", "tests/unit/test_manager.py"
DOOR, WORKER, STOPPING = (f"{INTEGRATION}/test_{name}.py" for name in ("door", "worker", "stopping"))
PRESENCE, EPISODES, TRIGGERS = (f"{INTEGRATION}/test_{name}.py" for name in ("presence", "episodes", "triggers"))
HINTS, STALLS = (f"{INTEGRATION}/test_injection_{name}.py" for name in ("hints", "stalls"))
TAKEOVERS, MISSED_HINTS, LIMITS_OF_TIME = (
    f"{INTEGRATION}/test_{name}.py" for name in ("takeovers", "missed_hints", "limits_of_time")
)
CONSTRAINTS, RETENTION, FAMILY_RACES = (
    f"{INTEGRATION}/test_{name}.py" for name in ("constraints", "retention", "family_races")
)
FENCES = ("tests/unit/test_injection_fence.py",)
FENCE = (f"{STOPPING}::test_a_worker_that_was_thought_dead_can_neither_stream_nor_commit",)
COMMITS = (
    f"{WORKER}::test_a_commit_whose_outcome_is_unknown_is_tried_again_and_neither_lost_nor_doubled_nor_paid_twice",
)
