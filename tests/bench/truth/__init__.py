"""What a RocksDB really sustains on a slow device, and how far the models' answers are from it."""
