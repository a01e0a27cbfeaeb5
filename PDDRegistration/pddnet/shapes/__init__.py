"""Match the shapes of two segmented patients, and make a deformation of space from it: reference deformations."""
