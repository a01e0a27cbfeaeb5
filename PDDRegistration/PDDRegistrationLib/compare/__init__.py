"""Show a result in the slice views: blending, checkerboard, displacement field, overlays, values at the crosshair."""
