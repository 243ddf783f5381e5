"""Jobs: what was asked for, where it stands, and all that happened; in one SQLite file that outlives every process."""
