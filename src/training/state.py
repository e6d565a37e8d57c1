"""What a stopped run needs to go on: every parameter of the training step, and how many steps are done.

The weights, the moving statistics, the momentum and the optimizer's step are parameters of the step. The data position
and all random numbers follow from the number of steps (see ``src.data.reader.TrainingStream``); the network draws none.
"""

from typing import Any

import mindspore as ms

from ..artifacts import PathLike
from ..errors import UserError
from ..model.checkpoint import save_weights


def save_state(step_cell: Any, steps_done: int, path: PathLike) -> None:
    """Write the state after ``steps_done`` steps atomically, as a file that ``mindspore.load_checkpoint`` reads."""
    save_weights(step_cell, path, {"steps_done": steps_done})


def load_state(step_cell: Any, path: PathLike) -> int:
    """Set every parameter of ``step_cell`` and return how many steps were done; UserError for a damaged file."""
    try:
        stored = ms.load_checkpoint(str(path))
        for name, parameter in step_cell.parameters_and_names():
            parameter.set_data(stored[name].value())
        return int(stored["steps_done"].asnumpy())
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: damaged, so the run cannot go on; give `resume` false to start anew") from error
