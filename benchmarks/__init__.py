"""What a map costs, beside the bare pass and beside the peers: `make bench`."""
