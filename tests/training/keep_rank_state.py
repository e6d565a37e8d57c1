"""train.py, but every rank keeps its last state as ``rank<N>.ckpt``, and as ``rank<N>_own.npz`` before it is averaged.

What msrun starts in test_ranks.py.
"""

import numpy as np

from src.commands import train as command
from src.commands.command_line import run_command


def main():
    from src.training import trainer
    from src.training.step import save_state

    class KeepingTrainer(trainer.Trainer):
        def _after_step(self, batch, stopping):
            own = {name: each.asnumpy() for name, each in self.step_cell.parameters_and_names() if "moving_" in name}
            np.savez(f"rank{self.device.rank}_own.npz", **own)
            super()._after_step(batch, stopping)

        def _close(self):
            super()._close()
            save_state(self.step_cell, self.steps_done, f"rank{self.device.rank}.ckpt")

    trainer.Trainer = KeepingTrainer
    command.main()


if __name__ == "__main__":
    run_command(main)
