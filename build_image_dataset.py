"""The command build_image_dataset: see src/commands/build_image_dataset.py."""

if __name__ == "__main__":
    from src.commands import run

    run("build_image_dataset")
