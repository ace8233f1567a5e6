"""Ctrl-C and SIGTERM: one line, exit code 130 or 143, nothing left, and the next run gives what it always gives."""

import signal

from tests.faults.fault import Fault
from tests.faults.moments import after, appears, loaded, says, started

SIGNALS = {signal.SIGINT: (130, "Ctrl-C"), signal.SIGTERM: (143, "SIGTERM")}
LINES = {"pipeline": "interrupted by {}", "trainer.task": "interrupted by {}; .*--resume"}
LEAVES = {"pipeline": "$^", "trainer.task": r"^checkpoints/"}  # the next run of the trainer goes on from there

# The flags of Beam's local runner, whose workers are processes or threads.
WORKERS = {
    "processes": ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
    "threads": ("--direct_running_mode", "multi_threading", "--direct_num_workers", "2"),
}
IMPORTING = {
    "imports begin": after(started, 0.3),
    "imports numpy": loaded("numpy"),
    "imports TensorFlow": loaded("_pywrap_tensorflow"),
    "has imported half of TensorFlow": after(loaded("_pywrap_tensorflow"), 0.5),
    "has imported TensorFlow": after(loaded("_pywrap_tensorflow"), 1.5),
}
MOMENTS = {
    "pipeline": {
        "starts": after(started, 0.1),
        "begins to read": says("reading"),
        "makes its folder": appears(".partial-*"),
        "writes shards": appears(".partial-*/**/skipgrams-*"),
        "publishes": appears("skipgrams"),
        "publishes shards": appears("skipgrams/*"),
    },
    "trainer.task": {
        "starts": after(started, 0.1),
        "makes the checkpoints' folder": appears("checkpoints"),
        "begins to train": says("training"),
        "compiles": after(says("training"), 0.2),
        "trains": says("epoch 1/"),
        "writes checkpoints": appears("checkpoints/*.index"),
        "writes vectors": appears("vectors.*"),
        "writes the model": appears("*saved_model*"),
        "removes checkpoints": appears("metrics.json"),
    },
}
MOMENTS_OF_WORKERS = {
    "begins to read": says("reading"),
    "has read for a second": after(says("reading"), 1),
    "has read for three seconds": after(says("reading"), 3),
    "makes its folder": appears(".partial-*"),
    "writes shards": appears(".partial-*/**/skipgrams-*"),
}
OPERATIONS = {"pipeline": range(1, 31), "trainer.task": range(1, 41)}  # those that are not reached are skipped


def interrupted(program: str, number: signal.Signals, when: str, /, **kwargs) -> Fault:
    """The program is interrupted, says so, and leaves nothing but what --resume needs."""
    code, name = SIGNALS[number]
    line, leaves = LINES[program].format(name), LEAVES[program]
    return Fault("signals", f"{name} {when}", program, code=code, line=line, leaves=leaves, may_finish=True, **kwargs)


def over(existing: bool) -> str:
    """The end of a row's name."""
    return " over an earlier result" if existing else ""


FAULTS = [
    *(
        interrupted(program, number, when, number=number, moment=moment, imports=True, rerun=False)
        for program in LINES
        for when, moment in IMPORTING.items()
        for number in SIGNALS
    ),
    *(
        interrupted(program, number, when + over(existing), number=number, moment=moment, existing=existing)
        for program, moments in MOMENTS.items()
        for when, moment in moments.items()
        for number in SIGNALS
        for existing in ((False, True) if program == "pipeline" and "publishes" not in when else (False,))
    ),
    *(
        interrupted("trainer.task", number, f"twice, {when}", number=number, moment=moment, times=2)
        for when, moment in MOMENTS["trainer.task"].items()
        for number in SIGNALS
    ),
    *(
        interrupted("pipeline", number, f"{when} in {kind}", number=number, moment=moment, imports=True, flags=flags)
        for kind, flags in WORKERS.items()
        for when, moment in MOMENTS_OF_WORKERS.items()
        for number in SIGNALS
    ),
    *(  # at each operation, whether or not a signal from outside would meet it
        interrupted(
            program, number, f"at file operation {call}{over(existing)}", inject=(call, number.name), existing=existing
        )
        for program, calls in OPERATIONS.items()
        for call in calls
        for number in SIGNALS
        for existing in ((False, True) if number == signal.SIGINT else (False,))
    ),
]
