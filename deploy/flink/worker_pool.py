"""python deploy/flink/worker_pool.py --address 127.0.0.2:50000: starts Beam workers for one task manager.

Beam's own `python -m apache_beam.runners.worker.worker_pool_main` listens at a port of all addresses, and knows its
workers by ids that each task manager counts from 1. So task managers that share a machine would stop each other's
workers: here each has a pool, at an address of its own.
"""

import argparse
import time

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main() -> None:
    """Serves until it is killed; its workers, in its process group, are to be killed with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="where to listen")
    address = parser.parse_args().address
    # No second server may have the port: a pool would get what is meant for the other.
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
