"""Photos and labels: lists, checks of photos, MindRecord shards, the reader, augmentation."""
