"""The one exception that a person sees as a sentence instead of a traceback."""


class UserError(Exception):
    """Bad input: one clear sentence that names the file or option, the fact, and the fix."""
