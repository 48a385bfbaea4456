"""Training of the embedding that fewshot_seg segments with. Imports fewshot_seg, never eval."""
