"""Compute the features of a scan, voxel by voxel: MIND, Obelisk, semantic codes, tissue classes, guiding labels.

`matching.feature_types` registers which of them a registration uses.
"""
