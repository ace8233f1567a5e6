"""What a fault is, and what it happens to."""

import contextlib
import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row of a table: one way to disturb a run.

    Attributes:
        kind: the class of the fault, by which attempts are counted.
        name: what is unique about it.
        program: "pipeline" or "trainer.task".
        flags: what is added to the usual flags.
        code: the exit code, or minus the signal; None if it may be 1 or 2.
        line: matches the one line on standard error; "" if there is none.
        number: the signal that is sent, if any, as soon as `moment` is true. SIGINT goes to the whole process group, as
            from a terminal.
        moment: says of an Attempt whether it is time to send it.
        times: how often it is sent.
        inject: (call, action): something happens at that file operation of the program, see injection.py.
        limits: soft limits of the process by name, such as RLIMIT_FSIZE.
        prepare: a context manager around the run, which gets the Attempt. It may change it and what is on disk.
        imports: whether the run imports all by itself, instead of being forked from a process that has.
        existing: whether the output holds the result of an earlier run, which has to stay if the new one fails.
        may_finish: whether the run may be over before the signal comes.
        keeps_output: whether what was in the output must be there after the fault, byte by byte.
        leaves: matches the temporary files that the fault may leave behind, for the next run to remove.
        rerun: whether to run the program again afterwards. It must then give what an undisturbed run gives.
    """

    kind: str
    name: str
    program: str
    flags: tuple[str, ...] = ()
    code: int | None = 1
    line: str = ""
    number: signal.Signals | None = None
    moment: "Callable[[Attempt], bool]" = lambda attempt: True
    times: int = 1
    inject: tuple[int, str] | None = None
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    prepare: "Callable[[Attempt], contextlib.AbstractContextManager]" = lambda attempt: contextlib.nullcontext()
    imports: bool = False
    existing: bool = False
    may_finish: bool = False
    keeps_output: bool = False
    leaves: str = "$^"
    rerun: bool = True

    @property
    def title(self) -> str:
        return f"{self.kind}: {self.program}: {self.name}"


@dataclasses.dataclass
class Attempt:
    """What a fault happens to.

    Attributes:
        text: the folder of the corpus.
        dataset: the dataset that an undisturbed run makes of it.
        folder: a new folder.
        output: the output of the run, in it.
        pid: of the program; 0 before it is started.
        too_late: whether the run was over before the signal came.
    """

    text: Path
    dataset: Path
    folder: Path
    output: Path
    pid: int = 0
    too_late: bool = False

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr"


class Skipped(Exception):
    """The fault cannot be brought about here."""
