"""Fuse the labels of several atlases, warped onto one grid, into one label map. Arrays in, arrays out; torch-free."""
