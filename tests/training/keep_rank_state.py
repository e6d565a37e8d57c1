"""train.py, but every rank keeps its last state as ``rank<N>.ckpt``: what msrun starts in test_ranks.py."""

from src.commands.command_line import parse_command_line, run_command


def main():
    config, _ = parse_command_line(__doc__, [])
    from src.training import trainer
    from src.training.state import save_state

    class KeepingTrainer(trainer.Trainer):
        def _close(self):
            super()._close()
            save_state(self.step_cell, self.steps_done, f"rank{self.device.rank}.ckpt")

    trainer.Trainer = KeepingTrainer
    trainer.train(config)


if __name__ == "__main__":
    run_command(main)
