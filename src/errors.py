"""The exceptions that a person sees as a sentence instead of a traceback."""


class UserError(Exception):
    """Bad input: one clear sentence that names the file or option, the fact, and the fix."""


class Interrupted(Exception):
    """A long job that was asked to stop and has saved its work: one sentence, and the exit status that says so."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
