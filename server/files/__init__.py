"""Files that came in or were made: known by an id that is the content, never by a path."""
