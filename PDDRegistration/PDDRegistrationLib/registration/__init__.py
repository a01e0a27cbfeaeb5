"""One registration: what was selected, what the run needs, and the nodes that it fills."""
