"""`python -m eval`, which torchrun can start: torchrun --nproc-per-node 2 -m eval segment ..."""

from eval.cli import main

if __name__ == "__main__":
    main()
