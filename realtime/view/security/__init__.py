"""Controls who may open the page and what a request may ask."""
