"""Rows of the parity table, a module for each topic."""
