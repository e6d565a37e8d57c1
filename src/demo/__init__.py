"""A seeded generator of drawn landmark photographs: train and retrieve on a machine without a data set."""
