"""The exception for mistakes that the user can correct."""

import re


class UserError(Exception):
    """A mistake in a flag or in the input. Its message names the flag or file, the value, and what would be right."""


def user_message(error: BaseException) -> str | None:
    """The message of the UserError that made a job fail, or None if something else did.

    A runner passes a worker's exception on as the text of its traceback, so the message is searched for in that text.
    """
    text = f"UserError: {error}" if isinstance(error, UserError) else str(error)
    found = re.search(r"UserError: (.*?)(?: \[while running|\n|$)", text)
    return found.group(1) if found else None
