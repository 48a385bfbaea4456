"""How well an embedding finds images of a query's class: `fewshot-eval retrieval`."""
