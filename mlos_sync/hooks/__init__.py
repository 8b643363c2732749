"""What the git shims call. The guard uses the standard library and the pure core only."""
