"""The command train: see src/commands/train.py."""

if __name__ == "__main__":
    from src.commands import run

    run("train")
