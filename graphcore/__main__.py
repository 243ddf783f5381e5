"""`python -m graphcore` is `stepgraph`."""

from graphcore.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
