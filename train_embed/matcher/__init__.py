"""`train-embed matcher`: the network of `fewshot_seg.matching.matcher`, trained on episodes over a frozen backbone."""
