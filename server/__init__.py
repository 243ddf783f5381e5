"""The server: HTTP API, events over WebSocket, job queue, workers, web editor. An empty room so far.

It will import `graphcore` and learn about nodes from the registry alone, never from `nodes`.
"""
