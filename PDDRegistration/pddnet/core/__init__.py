"""Define grids, images, masks, displacement fields, affine maps, presets and results with numpy and SimpleITK only."""
