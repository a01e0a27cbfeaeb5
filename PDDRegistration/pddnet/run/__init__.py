"""One registration as the command and the worker carry it out: its inputs, the order of the work, and its outputs.

Importing this package does not import torch: it is loaded by `registration.check_device`, after the cheap checks.
"""
