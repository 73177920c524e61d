"""Pictures and mattes for training: pairs, targets, backgrounds and worker processes."""
