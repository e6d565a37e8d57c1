"""From photos to features: encoders and their pipeline, PCA, score threshold, feature files and their pictures."""
