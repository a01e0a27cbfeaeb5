"""Nodes of the scene to and from pddnet: geometry, volumes, transforms, segmentations, points, placement, undo."""
