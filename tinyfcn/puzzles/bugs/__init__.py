"""The third ladder: eight files with a mistake in each."""
