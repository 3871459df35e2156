"""From terms to new weights: packing, losses, the optimiser step, checkpoints."""
