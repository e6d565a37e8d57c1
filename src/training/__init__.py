"""The stages of training: networks, step, loop, validation, run folder, and what is shown of a run."""
