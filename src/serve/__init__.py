"""The search page: a small local server by which people search a collection, and its JSON API."""
