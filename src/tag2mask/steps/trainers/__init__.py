"""What the steps that train networks share: their tasks for the training loop, trial networks."""
