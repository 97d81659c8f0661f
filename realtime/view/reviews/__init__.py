"""Shows recordings and their reviews on the page."""
