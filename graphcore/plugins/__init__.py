"""Code from outside: loaded, watched, digested, reloaded."""
