"""SIGKILL: nothing can be said or removed, but the next run gives what it always gives, and no process is left."""

import signal

from tests.faults.fault import Fault
from tests.faults.signals import MOMENTS, MOMENTS_OF_WORKERS, OPERATIONS, WORKERS, over


def killed(program: str, when: str, **kwargs) -> Fault:
    """The program is killed. The next run removes what this one leaves."""
    leaves = r"^\.partial-|^\.lock$|\.tmp|^checkpoints/"
    return Fault("kills", when, program, code=-signal.SIGKILL, leaves=leaves, may_finish=True, **kwargs)


FAULTS = [
    *(
        killed(program, when + over(existing), number=signal.SIGKILL, moment=moment, existing=existing)
        for program, moments in MOMENTS.items()
        for when, moment in moments.items()
        for existing in ((False, True) if program == "pipeline" and "publishes" not in when else (False,))
    ),
    *(
        killed("pipeline", f"{when} in {kind}", number=signal.SIGKILL, moment=moment, imports=True, flags=flags)
        for kind, flags in WORKERS.items()
        for when, moment in MOMENTS_OF_WORKERS.items()
    ),
    *(
        killed(program, f"at file operation {call}{over(existing)}", inject=(call, "SIGKILL"), existing=existing)
        for program, calls in OPERATIONS.items()
        for call in calls
        for existing in (False, True)
    ),
]
