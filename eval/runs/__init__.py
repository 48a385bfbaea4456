"""The folder of a run, what determines it, and the processes that share it."""
