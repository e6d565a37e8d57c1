"""The network: backbone, attention, heads, pretrained weights."""
