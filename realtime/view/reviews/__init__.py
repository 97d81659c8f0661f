"""The page of recordings and their reviews."""
