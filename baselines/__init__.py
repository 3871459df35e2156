"""Methods: one file each, written like the algorithm box of its paper. They know no environment."""
