"""Register many pairs on a Dask cluster, one task each; what is whole is kept, and the same command goes on from there.

Each pair is registered by `pddnet register` in a process of its own, which keeps what belongs to the fixed scan. Only
paths travel. Importing this package imports neither torch nor dask.
"""
