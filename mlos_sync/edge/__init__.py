"""One outside thing each (git, files, SQLite, the journal folder); no policy."""
