"""python -m trainer.report MODEL

Writes the report of a model: one HTML file that needs no network. The trainer writes it at the end of each run.
"""

import sys
from collections.abc import Sequence

from trainer import limits
from trainer.console import Parser, importing, run
from trainer.errors import UserError
from trainer.files import is_directory

_COMMAND = "python -m trainer.report"


def main(argv: Sequence[str]) -> None:
    """Runs the command."""
    parser = Parser(prog=_COMMAND, description="Writes the report of a model as one HTML file that needs no network.")
    parser.add_argument("model", metavar="MODEL", help="the trainer's --output")
    parser.add_argument(
        "--data", default="", metavar="DATASET", help="the dataset, if it is not where the run had it (default: there)"
    )
    parser.add_argument("--output", default="", metavar="FILE", help="the file to write (default: MODEL/report.html)")
    parser.add_argument(
        "--log_dir", default="", metavar="DIRECTORY", help="TensorBoard's files, if they are not where the run had them"
    )
    parser.add_argument(
        "--words",
        nargs="+",
        default=[],
        metavar="WORD",
        help="the words whose neighbours to show, separated by spaces or commas (default: some are chosen)",
    )
    args = parser.parse_args(argv)
    limits.check_addresses("the report")
    with importing():
        from trainer.report.write import write_report  # imports TensorFlow: not before the flags are known to be good

    if args.log_dir and not is_directory(args.log_dir):
        raise UserError(f"--log_dir {args.log_dir}: expected a folder with TensorBoard's files")
    print(write_report(args.model, data=args.data, output=args.output, log_dir=args.log_dir, words=args.words))


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    return run(main, sys.argv[1:], _COMMAND)


if __name__ == "__main__":
    sys.exit(command())
