"""Features of a scan, voxel by voxel: MIND, Obelisk, semantic codes, tissue classes, guiding labels.

Which of them take part in a registration is registered in `matching.feature_types`.
"""
