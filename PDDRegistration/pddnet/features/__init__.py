"""Features of a scan, voxel by voxel: MIND, Obelisk, semantic codes, tissue classes, guiding labels."""
