"""Workflow files: read, written, described by a schema, found again in a picture."""
