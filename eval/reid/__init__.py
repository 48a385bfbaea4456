"""How well an embedding tells who is who across cameras: `fewshot-eval reid`."""
