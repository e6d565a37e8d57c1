"""Photos and labels: GLDv2 files, MindRecord shards, the reader, the demo set."""
