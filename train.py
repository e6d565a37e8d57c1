"""Train one stage of DELF: `tuning` (backbone and descriptor head), then `attn` (attention on the frozen backbone)."""

from src.commands.command_line import parse_command_line, run_command


def main() -> None:
    """Parse the recipe and train."""
    config, _ = parse_command_line(__doc__, ["run", "model", "training"])
    from src.training.trainer import train  # MindSpore takes seconds to import: not before --help

    train(config)


if __name__ == "__main__":
    run_command(main)
