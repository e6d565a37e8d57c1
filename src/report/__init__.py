"""The pages: report of a ranking, results of a search."""
