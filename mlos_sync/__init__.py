"""mlos-sync: the git-native file-sync indexer. This module re-exports nothing: the hooks import it."""

__version__ = "0.1.0"
