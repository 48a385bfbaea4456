"""What each command of `fewshot-seg` does; `fewshot_seg.cli` only parses and prints."""
