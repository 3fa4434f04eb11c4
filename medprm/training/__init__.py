"""Loss at the label positions, the Trainer subclass, the training data set."""
