"""Carry out one registration: parameters, selection, job, inputs and outputs."""
