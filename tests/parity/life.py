"""One life of a process that runs txt2img: `python -m tests.parity.life SETTINGS`, a JSON object.

    cache: folder of the cache.
    out: file for picture and latents (safetensors), written when the run has ended.
    inputs: of the workflow.
    die_at: path of the node at whose start the process kills itself with SIGKILL; absent: it lives.

Prints one line per event of a UNet call as it happens, `started PATH` or `finished PATH`, then `ended`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import torch
from safetensors.torch import save_file

from graphcore import Engine, Event
from tests.parity.shipped import REGISTRY, workflow


def main() -> None:
    settings: dict[str, Any] = json.loads(sys.argv[1])
    torch.set_num_threads(1)

    def watch(event: Event) -> None:
        if event.event == "started" and event.node == settings.get("die_at"):
            engine.flush()  # a real call takes so long that the writer is through with the step before
            os.kill(os.getpid(), signal.SIGKILL)
        if event.type == "stepgraph/unet" and event.event in ("started", "finished"):
            print(event.event, event.node, flush=True)

    with Engine(registry=REGISTRY, cache=settings["cache"], device="cpu", dtype="float32") as engine:
        found = engine.run(workflow("txt2img"), watch, **settings["inputs"])
    pixels, latents = found.image.pixels.contiguous(), found.latents.samples.contiguous()
    save_file({"pixels": pixels, "latents": latents}, settings["out"])
    print("ended", flush=True)


if __name__ == "__main__":
    main()
