"""A seeded generator of drawn landmark photographs, so that train -> retrieve runs on a machine without any data set."""
