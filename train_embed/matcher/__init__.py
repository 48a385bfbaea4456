"""`train-embed matcher`: the network of `fewshot_seg.matcher`, trained on episodes over a frozen backbone."""
