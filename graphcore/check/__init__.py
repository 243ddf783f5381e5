"""What can be known before a run: names, types, models, shapes."""
