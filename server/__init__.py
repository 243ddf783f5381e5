"""The server: HTTP API, events over WebSocket, job queue, workers. Run it with `stepgraph serve` (docs/server.md).

It imports `graphcore` and learns about nodes from the registry alone, never from `nodes`.
"""
