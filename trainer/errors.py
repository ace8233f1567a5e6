"""The exception for mistakes that the user can correct."""


class UserError(Exception):
    """A mistake in a flag or a file. Its message names the flag or file, the value, and what would be right."""
