"""Trained networks that come with qlumen, one bundle a folder."""
