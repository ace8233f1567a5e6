"""Starts Beam workers for one task manager of Flink, on the machine where this program runs.

    python deploy/flink/worker_pool.py --address 127.0.0.2:50000

A task manager asks this program to start a worker, and to stop it again by its id. Beam has such a program too,
`python -m apache_beam.runners.worker.worker_pool_main`, but it listens at all addresses of the machine. Every task
manager counts its workers from 1. So two task managers on one machine that share a pool would stop each other's
workers. This program therefore listens at one address, and each task manager gets a pool at an address of its own.
"""

import argparse
import time

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main() -> None:
    """Serves until it is killed. Its workers are in its process group, and must be killed together with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="the address at which it listens")
    address = parser.parse_args().address
    # By default, gRPC lets a second server listen at the same port. A pool could then get requests for another.
    server = grpc.server(thread_pool_executor.shared_unbounded_instance(), options=[("grpc.so_reuseport", 0)])
    pool = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(address)
    server.start()
    print(f"listening at {address}", flush=True)
    while True:
        time.sleep(24 * 60 * 60)


if __name__ == "__main__":
    main()
