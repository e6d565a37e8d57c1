"""From photos to local features: pyramid, keypoints, PCA, extractor, feature file."""
