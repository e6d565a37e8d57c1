"""The exceptions that a person sees as a sentence instead of a traceback."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


class UserError(Exception):
    """Bad input: one clear sentence that names the file or option, the fact, and the fix."""


class Interrupted(Exception):
    """A long job that was asked to stop and has saved its work: one sentence, and the exit status that says so."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def install_command(extra: str = "") -> str:
    """The command that installs the libraries of ``extra`` ('' = those always needed), in a checkout or a package."""
    requirements = f"requirements-{extra}.txt" if extra else "requirements.txt"
    if (_ROOT / requirements).is_file():
        return f"pip install -r {requirements}"
    return f"pip install 'delf-mindspore[{extra}]'" if extra else "pip install delf-mindspore"
