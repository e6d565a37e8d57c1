"""DELF for MindSpore: train, extract, match, retrieve, evaluate. Imported as ``src.*`` from the repository root."""
