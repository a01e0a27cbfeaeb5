"""Convert nodes of the scene to and from pddnet (geometry, volumes, transforms, segmentations, points), place, undo."""
