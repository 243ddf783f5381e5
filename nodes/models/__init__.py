"""Models: where their parts lie, what family they are of, and their weights in memory."""
