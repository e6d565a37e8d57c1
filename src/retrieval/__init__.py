"""Index, voting, search."""
