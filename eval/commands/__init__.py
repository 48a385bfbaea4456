"""What the subcommands of `fewshot-eval` do, one module a command; `eval.cli` names them."""
