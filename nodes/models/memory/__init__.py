"""Weights in memory: lent to nodes, kept within a budget."""
