"""Beam's runner for this machine, with worker processes that end with the command."""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from google.protobuf import json_format, text_format  # type: ignore[import-untyped]

from pipeline import forks, limits, worker
from pipeline.config import PipelineConfig
from pipeline.errors import UserError

_FORKED = "word2vec:environment:forked"  # the kind of environment that has worker processes of pipeline.forks
_BYTES_PER_WORKER = 16 << 20  # with less text for each, workers take longer to start than they save
_CLOSED = "Channel closed prematurely"  # how Beam says that a worker process has ended
_FORK_BYTES = 300_000_000  # the memory that a worker process of pipeline.forks does not share with the launcher


def choose_workers(
    options: PipelineOptions, beam_flags: Sequence[str], config: PipelineConfig, input_bytes: int
) -> None:
    """Sets how many worker processes a job on this machine gets, if Beam's flags do not say it.

    There is one for each core, unless the text is small or memory is short. The dataset does not depend on it.

    Args:
        options: Beam's options, which this changes.
        beam_flags: Beam's command-line flags.
        config: the settings.
        input_bytes: the size of the input.
    """
    given = {flag.partition("=")[0] for flag in beam_flags}
    direct = options.view_as(DirectOptions)
    if not forks.is_ready() or "--direct_running_mode" in given:
        return
    if "--direct_num_workers" not in given:
        spare_bytes = limits.available_bytes()[0] - worker.MEMORY_BYTES
        workers = min(
            limits.num_cores(), config.num_shards, input_bytes // _BYTES_PER_WORKER, spare_bytes // _FORK_BYTES
        )
        direct.direct_num_workers = max(1, workers)
    if direct.direct_num_workers != 1:
        direct.direct_running_mode = "multi_processing"


class LocalRunner(FnApiRunner):
    """Runs a job in this process, or in worker processes on this machine, as Beam's flags say."""

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        """Runs a job.

        Args:
            pipeline_proto: the job. For worker processes, it names the command that starts one.
            options: Beam's options.

        Raises:
            UserError: a worker process has ended too early.
        """
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                if forks.is_ready():
                    environment.urn = _FORKED
                environment.payload = worker.worker_command().encode()
        # By default, Beam sends what is written between runner and workers once a second, from another thread: at times
        # in the midst of an element. The receiver then takes random numbers for lengths, and all memory of the machine.
        # With 0, it sends between two elements only.
        time_limit, worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = worker_handlers.DATA_BUFFER_TIME_LIMIT_MS, 0
        show = threading.excepthook
        threading.excepthook = lambda args: None if _tells_of_worker(args) else show(args)
        try:
            return super().run_via_runner_api(pipeline_proto, options)
        except RuntimeError as error:
            if _CLOSED not in str(error):
                raise
            raise UserError(
                "a worker process has ended before its work was done, most likely because the memory is used up: "
                f"expected {worker.MEMORY_BYTES / 1e9:.1f} GB or more for each; lower --direct_num_workers"
            ) from error
        finally:
            threading.excepthook = show
            worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = time_limit


@worker_handlers.WorkerHandler.register_environment(_FORKED, bytes)
class _ForkedWorkerHandler(worker_handlers.GrpcWorkerHandler):
    """Starts a worker process of pipeline.forks, for Beam. It ends when the runner closes the connection to it."""

    def __init__(self, payload: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)

    def start_worker(self) -> None:
        environment = {
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(self.provision_info.provision_info.pipeline_options),
            "WORKER_ID": self.worker_id,
        }
        try:
            forks.start_worker(environment, self._tell_of_end)
        except BrokenPipeError as error:  # the fork server has ended
            raise RuntimeError(_CLOSED) from error

    def _tell_of_end(self) -> None:
        self.data_conn._closed = True  # whoever waits for data now gets the error that Beam raises for a lost worker
        with contextlib.suppress(RuntimeError):  # Beam is adding to the list that this goes through; it is called again
            self.control_conn.abort(RuntimeError(_CLOSED))

    def stop_worker(self) -> None:
        pass


def _tells_of_worker(args: threading.ExceptHookArgs) -> bool:
    """Whether an error of a thread tells that a worker process has ended. The job fails of that as well."""
    return (args.thread is not None and args.thread.name == "run_worker") or issubclass(args.exc_type, grpc.RpcError)
