"""Carry out one registration as the command and the worker do: its inputs, the order of the work, and its outputs.

Importing this package does not import torch: torch is loaded by `registration.check_device`, after the cheap checks.
"""
