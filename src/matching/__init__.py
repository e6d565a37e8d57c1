"""Correspondences, geometric verification, drawing."""
