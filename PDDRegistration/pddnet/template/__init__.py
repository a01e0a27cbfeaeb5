"""The mean of several scans, in shape and intensity, from their registrations to the mean of the round before.

Every scan is registered to the mean (`pddnet.batch` does it), the shapes are averaged, and the scans are averaged on
that shape. Importing this package does not import torch.
"""
