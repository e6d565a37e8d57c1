"""Retrieval: index, voting, search."""

import logging

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports every CPU variant it tries to load
