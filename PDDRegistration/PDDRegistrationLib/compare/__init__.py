"""Look at a result in the slice views: blending, checkerboard, field, overlays, values at the crosshair."""
