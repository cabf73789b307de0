"""The one exception that a user is meant to read: one sentence of what is wrong, where, and what to do."""


class RalkitError(Exception):
    """Bad input or a failed stage; the command line prints its sentence and exits with status 2."""
