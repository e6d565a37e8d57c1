"""train.py, but every rank keeps its last state as ``rank<N>.ckpt``: what msrun starts in test_ranks.py."""

from src.commands import train as command
from src.commands.command_line import run_command


def main():
    from src.training import trainer
    from src.training.step import save_state

    class KeepingTrainer(trainer.Trainer):
        def _close(self):
            super()._close()
            save_state(self.step_cell, self.steps_done, f"rank{self.device.rank}.ckpt")

    trainer.Trainer = KeepingTrainer
    command.main()


if __name__ == "__main__":
    run_command(main)
