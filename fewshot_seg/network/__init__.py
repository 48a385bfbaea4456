"""From images to a feature map A (B, C, h, w) and an embedding f (B, D)."""
