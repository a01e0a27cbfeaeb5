"""Name the exit codes of the `pddnet` command.

0 success; 1 a fault of the program; 2 bad input, with one line on standard error; 3 the verdict is 'failed' (the
outputs are written all the same); 4 some pairs of a batch are not done; 130 and 143 interrupted or terminated.
"""

OK, FAULT, BAD_INPUT, VERDICT_FAILED, NOT_ALL_DONE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143
