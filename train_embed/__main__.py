"""`python -m train_embed`, which torchrun can start: torchrun --nproc-per-node 2 -m train_embed run ..."""

from train_embed.cli import main

if __name__ == "__main__":
    main()
