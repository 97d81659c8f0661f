"""Settings files that come with qlumen, one for each kind of machine."""
