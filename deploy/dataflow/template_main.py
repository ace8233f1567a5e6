"""The launcher of the Flex Template runs this: python template_main.py --NAME=VALUE...

Each parameter of a template is a name and one string. The flags of `python -m pipeline` differ in three ways:

    input=gs://b/a* gs://b/c*   a flag with several values; a value with a space in it is quoted, as in a shell
    overwrite=true              a flag without a value; false means that it is not given
    seed=                       an empty value means that the flag is not given
"""

import os
import shlex
import sys
from collections.abc import Sequence

from pipeline import options
from pipeline.__main__ import main
from pipeline.console import EXIT_USAGE
from pipeline.errors import UserError


def flags(parameters: Sequence[str], image: str | None = None) -> list[str]:
    """Turns the parameters of a template into flags of `python -m pipeline`.

    Args:
        parameters: each is --NAME=VALUE. Parameters that are not the pipeline's are Beam's, and stay as they are.
        image: the image that workers run in, unless --sdk_container_image is among the parameters.

    Raises:
        UserError: a quote in a list of values is not closed.
    """
    settings = {setting.flag: setting for setting in options.SETTINGS}
    argv: list[str] = []
    for parameter in parameters:
        name, has_value, value = parameter.partition("=")
        setting = settings.get(name)
        if setting is None or not has_value:
            argv.append(parameter)
        elif value == "" or (setting.kind is bool and value.lower() == "false"):
            continue
        elif setting.kind is bool and value.lower() == "true":
            argv.append(name)
        elif setting.kind is tuple:
            argv += [name, *_split(name, value)]
        else:
            argv.append(parameter)
    if image and not any(parameter.startswith("--sdk_container_image=") for parameter in argv):
        argv.append(f"--sdk_container_image={image}")
    return argv


def _split(name: str, value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError as error:
        raise UserError(f"{name} {value}: {error}; expected file patterns with spaces between them") from error


if __name__ == "__main__":
    try:
        argv = flags(sys.argv[1:], os.environ.get("TEMPLATE_IMAGE"))
    except UserError as error:
        print(f"template_main.py: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    sys.exit(main(argv))
