"""All rows of all tables: those that run with the other tests, and those that take long."""

from tests.faults import kills, locks, resources, signals

FAULTS = [*signals.FAULTS, *kills.FAULTS, *resources.FAULTS, *locks.FAULTS]

# The most telling ones of each class.
FAST_NAMES = {
    "signals: pipeline: Ctrl-C writes shards",
    "signals: pipeline: Ctrl-C at file operation 9 over an earlier result",
    "signals: trainer.task: SIGTERM trains",
    "signals: trainer.task: Ctrl-C writes vectors",
    "kills: pipeline: at file operation 9 over an earlier result",
    "kills: trainer.task: at file operation 9",
    "full disks: pipeline: 32 kB",
    "full disks: trainer.task: 16 kB",
    "two runs: pipeline: a pipeline has the output over an earlier result",
    "two runs: trainer.task: a trainer has the output",
}
FAST = [fault for fault in FAULTS if fault.title in FAST_NAMES]
SLOW = [fault for fault in FAULTS if fault.title not in FAST_NAMES]
