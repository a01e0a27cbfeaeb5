"""Grids, images, masks, displacement fields, affine maps, presets and results: numpy and SimpleITK only."""
