"""Workflow files: plain JSON in a folder, which people, git and the API all edit."""
