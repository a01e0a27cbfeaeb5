"""One registration: parameters, selection, job, inputs and outputs."""
