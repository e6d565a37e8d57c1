"""TensorBoard events of a run: an optional second place for the numbers of metrics.jsonl."""

from typing import Any, Dict

from ..artifacts import PathLike
from ..errors import UserError


class Events:
    """Scalars by step in an open event file; ``open_events`` makes it. A context manager that closes itself."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, step: int, values: Dict[str, float]) -> None:
        """Write one scalar for each name; a name such as "loss/descriptor" is grouped under "loss"."""
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), global_step=step)

    def close(self) -> None:
        """Write out what is pending and close the file."""
        self._writer.close()

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_events(folder: PathLike, purge_step: int = 0) -> Events:
    """A new event file in ``folder``, where tensorboard's logdir finds it.

    Args:
        folder: made when absent; files of earlier runs stay in it.
        purge_step: the last step whose events are kept: the step a resumed run goes on from, 0 for a run that starts
            anew. TensorBoard discards what earlier files hold for later steps.

    Raises:
        UserError: tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            "TensorBoard events need tensorboardX, which is not installed: run 'pip install -r requirements-extras.txt'"
        ) from error
    first_step = purge_step + 1 if purge_step else 0
    # The suffix keeps two files of the same second apart, as tensorboardX names them by the second.
    writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=30, filename_suffix=f".{first_step}")
    return Events(writer)
