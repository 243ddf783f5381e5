"""Workflow files: read, written, found again in a picture."""
