"""Running a workflow: compiled, unrolled, executed, explained."""
