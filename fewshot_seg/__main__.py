"""`python -m fewshot_seg` is the command `fewshot-seg`."""

from fewshot_seg.cli import main

if __name__ == "__main__":
    main()
